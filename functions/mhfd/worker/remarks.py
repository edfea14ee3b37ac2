"""Remarks of an answer: each is one item that was left out, and why. They never end the work."""

from __future__ import annotations

from mhfd.contract import storable

SHOWN_REMARKS = 20
MAX_CHARACTERS = 500


class Remarks:
    """The first remarks, and the number of all others."""

    def __init__(self) -> None:
        self._shown: list[dict[str, str]] = []
        self._more = 0

    def add(self, code: str, message: str) -> None:
        if len(self._shown) < SHOWN_REMARKS:
            self._shown.append({"code": code, "message": storable(message[:MAX_CHARACTERS])})
        else:
            self._more += 1

    def to_list(self) -> list[dict[str, str]]:
        """[{"code", "message"}], bounded; the last one counts those that are not shown."""
        more = [{"code": "more", "message": f"{self._more} more remarks are not shown"}] if self._more else []
        return self._shown + more
