"""A task of Windows' Task Scheduler."""

from __future__ import annotations

import getpass
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from mhfd_client.schedule.programs import call
from mhfd_client.schedule.protocol import Schedule, ScheduleError, Shown, title_of

MISSING = "this needs Windows; elsewhere `--with systemd`, or `--with globus`, which needs no scheduler of this machine"
LONG_AGO = datetime(2020, 1, 6)  # a Monday: times are counted from here
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
NEVER_RUN = 0x41303  # SCHED_S_TASK_HAS_NOT_RUN
RUNNING = 0x41301  # SCHED_S_TASK_RUNNING
QUERY = (
    "$i = Get-ScheduledTaskInfo -TaskName '{title}' -ErrorAction SilentlyContinue; if ($i) {{ ConvertTo-Json @{{"
    'next = "$($i.NextRunTime)"; last = "$($i.LastRunTime)"; result = $i.LastTaskResult; '
    "state = \"$((Get-ScheduledTask -TaskName '{title}').State)\" }} }}"
)
_TEXTS = Environment(
    loader=PackageLoader("mhfd_client.schedule", "units"), undefined=StrictUndefined, autoescape=True
)  # fmt: skip


class WindowsScheduler:
    """A task that runs while its user is logged on, since mapped drives and the Globus sign-in are the user's."""

    def install(self, schedule: Schedule, *, dry_run: bool) -> Iterator[str]:
        title, text = title_of(schedule.name), self.task(schedule)
        if dry_run:
            yield f"would register the task {title}:\n{text}"
            return
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, f"{title}.xml")
            file.write_text(text, encoding="utf-16")  # with a mark of its byte order, as schtasks wants it
            call("schtasks", "/Create", "/TN", title, "/XML", str(file), "/F", missing=MISSING)  # /F: or replace it
        yield f"{title}: {schedule.when}"

    def task(self, schedule: Schedule) -> str:
        """The task in the Task Scheduler's XML."""
        when = schedule.when
        program, *arguments = schedule.command
        windowless = Path(program).with_name("pythonw.exe")
        return _TEXTS.get_template("mhfd-rescore.xml.j2").render(
            title=title_of(schedule.name),
            when=when,
            hours=when.hours,
            day=WEEKDAYS[when.day] if when.every == "7d" else None,
            start=when.next(LONG_AGO).isoformat(timespec="seconds"),
            user=_user(),
            program=str(windowless if windowless.is_file() else program),
            arguments=subprocess.list2cmdline(arguments),
        )

    def show(self, name: str | None) -> Shown:
        title = title_of(name)
        said = call("powershell", "-NoProfile", "-Command", QUERY.format(title=title), missing=MISSING).strip()
        if not said:
            return Shown(title, "not installed")
        try:
            found = json.loads(said)
            result = int(found["result"])
        except (ValueError, KeyError, TypeError) as error:
            raise ScheduleError(f"The answer about the task {title} cannot be read: {said[:200]}") from error
        return Shown(
            title,
            "off" if found["state"] == "Disabled" else "on",
            next_run=found["next"] or None,
            last_run=None if result == NEVER_RUN else found["last"] or None,
            last_result=_result(result),
        )

    def remove(self, name: str | None, *, dry_run: bool) -> Iterator[str]:
        title = title_of(name)
        if self.show(name).state == "not installed":
            yield f"{title} is not installed."
        elif dry_run:
            yield f"would delete the task {title}"
        else:
            call("schtasks", "/Delete", "/TN", title, "/F", missing=MISSING)
            yield f"Removed: {title}"


def _user() -> str:
    domain = os.environ.get("USERDOMAIN")
    return f"{domain}\\{getpass.getuser()}" if domain else getpass.getuser()


def _result(code: int) -> str | None:
    if code == NEVER_RUN:
        return None
    if code == RUNNING:
        return "running"
    return "succeeded" if code == 0 else f"exit code {code if code < 256 else hex(code)}"
