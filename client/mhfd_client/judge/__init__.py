"""Verdicts while a run goes on; the rule itself is `mhfd.judge`."""
