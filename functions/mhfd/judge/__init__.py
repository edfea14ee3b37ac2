"""Results in the context of their run -> verdicts; pure, so that old results can be judged anew."""

from mhfd.judge.verdict import Peers, VerdictRule, describe, judge, judge_one

__all__ = ["Peers", "VerdictRule", "describe", "judge", "judge_one"]
