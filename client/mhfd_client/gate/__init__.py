"""The finished-file gate: no tile passes while it may still be written, and none passes unread."""

from mhfd_client.gate.finished import Finished, Gate, GateRules, NotYet, Reason, Unreadable
from mhfd_client.gate.pages import PageFacts

__all__ = ["Finished", "Gate", "GateRules", "NotYet", "PageFacts", "Reason", "Unreadable"]
