"""Each value in effect, and its origin."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mhfd_client.config.base import Frozen, default_path
from mhfd_client.config.model import Config
from mhfd_client.config.settings import Settings


@dataclass(frozen=True)
class Shown:
    """A value as plain JSON types, and its origin as in `Settings.origins`."""

    key: str
    value: Any
    origin: str


def effective(config: Config, settings: Settings) -> Iterator[Shown]:
    """The settings, then their endpoint; none of it is secret (`endpoint._no_secrets`)."""
    top = {"config": config.source or str(default_path()), "profile": settings.name, "ledger": settings.ledger}
    for key, value in {**top, **settings.profile.model_dump(mode="json")}.items():
        yield Shown(key, value, settings.origins[key])
    name = settings.profile.endpoint
    if entry := config.entry(name):
        yield from _flat(f"endpoints.{name}", entry, config.source)


def _flat(place: str, table: Frozen, source: str) -> Iterator[Shown]:
    plain = table.model_dump(mode="json")
    for key in type(table).model_fields:
        value = getattr(table, key)
        inside = {key: value} if isinstance(value, Frozen) else _tables_in(key, value)
        for name, each in inside.items():
            yield from _flat(f"{place}.{name}", each, source)
        if not inside:
            yield Shown(f"{place}.{key}", plain[key], source if key in table.model_fields_set else "default")


def _tables_in(key: str, value: Any) -> dict[str, Frozen]:
    """[[data]] as data.0, data.1, ..."""
    several = value if isinstance(value, tuple) else ()
    return {f"{key}.{number}": each for number, each in enumerate(several) if isinstance(each, Frozen)}
