"""Verdicts on results in the context of their run; pure, so old results can be judged again."""

from mhfd.judge.reference import Reference
from mhfd.judge.rule import VerdictRule
from mhfd.judge.setting import Setting, setting_of
from mhfd.judge.verdict import judge, references_of

__all__ = ["Reference", "Setting", "VerdictRule", "judge", "references_of", "setting_of"]
