"""The finished-file gate: no tile passes while it may still be written, and none passes unread."""

from mhfd_client.gate.finished import Finished, Gate, GateRules, NotYet, Reason, Unreadable
from mhfd_client.gate.pages import BadPage, Page, PageFacts

__all__ = ["BadPage", "Finished", "Gate", "GateRules", "NotYet", "Page", "PageFacts", "Reason", "Unreadable"]
