"""A message to people, and the same for programs."""

from __future__ import annotations

from dataclasses import dataclass, field

from mhfd_client.ledger import Json


@dataclass(frozen=True)
class Message:
    """What a channel sends.

    Attributes
    ----------
    id : the same whenever this message is sent again, so that a receiver can drop the second
    title : one line
    lines : of the text; they name files, so a channel makes them safe for its medium
    data : the same as plain JSON types
    """

    id: str
    title: str
    lines: tuple[str, ...]
    urgent: bool = False
    data: Json = field(default_factory=dict)
