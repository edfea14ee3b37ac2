"""When the tasks in flight are saved."""

from __future__ import annotations

import math
import time
from typing import Any

from mhfd_client.dispatch.saving import PAUSES, Saving


def test_nothing_is_saved_unless_something_has_changed() -> None:
    saved: list[Any] = []
    saving = Saving(dict, saved.append)
    saving.save(at_once=True)
    assert (saved, saving.due_s) == ([], math.inf)


def test_a_change_is_saved_once() -> None:
    saved: list[Any] = []
    saving = Saving(dict, saved.append)
    saving.changed()
    saving.save()
    saving.save(at_once=True)
    assert saved == [{}]


def test_after_a_slow_save_the_next_one_waits() -> None:
    took_s = 0.05
    saved: list[float] = []

    def slow(_: object) -> None:
        time.sleep(took_s)
        saved.append(time.monotonic())

    saving = Saving(dict, slow)
    saving.changed()
    saving.save()
    saving.changed()
    assert saving.due_s >= saved[0] + PAUSES * took_s
    saving.save(at_once=True)
    assert len(saved) == 2


def test_nobody_to_save_for_is_never_due() -> None:
    saving = Saving(dict, None)
    saving.changed()
    assert saving.due_s == math.inf
