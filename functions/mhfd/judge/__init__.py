"""Verdicts on results in the context of their run; pure, so old results can be judged again."""

from mhfd.judge.verdict import (
    Evidence,
    Group,
    Judgement,
    Measured,
    Peers,
    VerdictRule,
    describe,
    group_of,
    judge,
    judge_one,
    judged,
)

__all__ = [
    "Evidence",
    "Group",
    "Judgement",
    "Measured",
    "Peers",
    "VerdictRule",
    "describe",
    "group_of",
    "judge",
    "judge_one",
    "judged",
]
