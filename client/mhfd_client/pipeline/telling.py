"""The threads of a watch that tell people: one judges, one more for each channel. None can delay or end the watch."""

from __future__ import annotations

import time
from collections.abc import Sequence

from mhfd_client.notify.outbox import Outbox
from mhfd_client.pipeline.alert import AlertStep
from mhfd_client.pipeline.context import Bell, Results
from mhfd_client.pipeline.notices import Board
from mhfd_client.pipeline.runner import Runner

JUDGE_S = 600.0
"""At the end the last judgement is waited for: of a run of 10^5 tiles it takes a minute or two."""

SEND_S = 5.0
"""At the end messages are waited for; what has not arrived by then is sent at the next start."""


class Telling:
    """Runs the alert step and the channels.

    Parameters
    ----------
    boxes : each with the bell that its `post` rings
    """

    def __init__(self, step: AlertStep, boxes: Sequence[tuple[Outbox, Bell]], board: Board) -> None:
        self._step = step
        self._boxes = [box for box, _ in boxes]
        self._judge = Runner(step, board, step.bell)
        self._senders = [Runner(box, board, bell) for box, bell in boxes]

    def start(self) -> None:
        for runner in (self._judge, *self._senders):
            runner.start()

    def put(self, results: Results) -> None:
        self._step.put(results)

    def finish(self) -> None:
        """After the last row: judge all once more, and send what waits."""
        self._judge.stop()
        if self._judge.join(JUDGE_S):
            self._step.finish()
        for box, runner in zip(self._boxes, self._senders, strict=True):
            box.close()
            runner.wake()
        deadline_s = time.monotonic() + SEND_S
        for box in self._boxes:
            box.wait_until_empty(max(0.0, deadline_s - time.monotonic()))

    def stop(self) -> None:
        """End the threads; one that hangs in a channel is left behind."""
        for runner in (self._judge, *self._senders):
            runner.stop()
        for runner in (self._judge, *self._senders):
            runner.join(1.0)
