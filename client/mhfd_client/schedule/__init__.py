"""Scoring archives again on a schedule: by systemd, by Windows' Task Scheduler, or by Globus without this machine."""
