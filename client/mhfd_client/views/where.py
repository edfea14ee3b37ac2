"""Conditions on the rows of a table: `verdict=out_of_focus,astigmatic`, `blur_px>1.5`, or a state alone: `failed`.

Verdicts and blur are made while the table is read, so a condition on them goes by the run as it is judged then.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, get_args

from mhfd.contract import ErrorCode, ParamsError, Verdict
from mhfd.text import nearest
from mhfd_client.ledger import Choice, State
from mhfd_client.ledger.model import UNFINISHED
from mhfd_client.views.export import COLUMNS, HAVE_RESULTS

OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip

KNOWN: Mapping[str, Sequence[str]] = {
    "verdict": get_args(Verdict),
    "state": get_args(State),
    "status": ("scored", "failed"),
    "decision": get_args(Choice),
    "error_code": get_args(ErrorCode),
}
"""Columns that hold one of a few names."""

_CONDITION = re.compile(r"\s*(\w+)\s*(!=|<=|>=|=|<|>)\s*(.*?)\s*", re.DOTALL)


@dataclass(frozen=True)
class Condition:
    """One condition on a row.

    Attributes
    ----------
    values : one of them fits; of "!=" none may
    """

    column: str
    sign: str
    values: tuple[object, ...]

    def fits(self, row: Mapping[str, object]) -> bool:
        """True for a row, by column. Where a value is not known only "!=" fits."""
        here = row[self.column]
        if here is None:
            return self.sign == "!="
        each = set(str(here).split()) if self.column == "remarks" else {here}  # a list of codes
        if self.sign == "!=":
            return each.isdisjoint(self.values)
        compare = OPERATORS[self.sign]
        return any(compare(one, value) for one in each for value in self.values)


@dataclass(frozen=True)
class Where:
    """All conditions of a table: a row fits them all."""

    conditions: tuple[Condition, ...] = ()

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Where:
        """Read conditions; states alone are one: of several one fits.

        Raises
        ------
        ParamsError
            There is no such column or value, or it cannot be compared so; the message names the nearest.
        """
        states: list[object] = []
        conditions = []
        for text in texts:
            if text in KNOWN["state"]:
                states.append(text)
            else:
                conditions.append(_parsed(text))
        return cls((*conditions, Condition("state", "=", tuple(states))) if states else tuple(conditions))

    def __call__(self, row: Mapping[str, object]) -> bool:
        return all(each.fits(row) for each in self.conditions)

    @property
    def states(self) -> tuple[State, ...]:
        """The states that a row may be in: those with results, unless a condition is about states."""
        about = [each for each in self.conditions if each.column == "state"]
        among = (*UNFINISHED, *HAVE_RESULTS) if about else HAVE_RESULTS
        return tuple(state for state in among if all(each.fits({"state": state}) for each in about))


def _parsed(text: str) -> Condition:
    found = _CONDITION.fullmatch(text)
    if found is None:
        what = f"'{text}' is neither a state nor a condition like verdict=out_of_focus or blur_px>1.5"
        raise ParamsError(f"{what}; {nearest(text, KNOWN['state'])}")
    column, sign, given = found.groups()
    if column not in COLUMNS:
        raise ParamsError(f"there is no column '{column}'; {nearest(column, COLUMNS)}")
    parts = [part.strip() for part in given.split(",")]
    if sign not in ("=", "!=") and (len(parts) > 1 or COLUMNS[column] == "string"):
        what = "takes one number or time" if COLUMNS[column] != "string" else "is no number: use = or !="
        raise ParamsError(f"{text}: {column} {what}")
    return Condition(column, sign, tuple(_value(column, part) for part in parts))


def _value(column: str, text: str) -> object:
    kind = COLUMNS[column]
    if kind == "string":
        known = KNOWN.get(column)
        if known is not None and text not in known:
            raise ParamsError(f"there is no {column} '{text}'; {nearest(text, known)}")
        return text
    try:
        if kind == "time":
            return datetime.fromisoformat(text).astimezone()
        return float(text)
    except ValueError:
        what = "time like 2026-01-31T14:30" if kind == "time" else "number"
        raise ParamsError(f"{column} is compared with a {what}, not with '{text}'") from None
