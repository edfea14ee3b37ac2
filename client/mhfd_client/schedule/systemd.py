"""A timer of the user's systemd."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from mhfd.text import visible
from mhfd_client.schedule.programs import call, put
from mhfd_client.schedule.protocol import Schedule, ScheduleError, ScheduleRefusedError, Shown, title_of
from mhfd_client.schedule.when import DAYS, When

MISSING = "this needs systemd; `--with globus` needs no scheduler of this machine, and cron can run `mhfd rescore`"
NO_SESSION = (
    "your systemd does not run: log in as yourself (not by su or sudo), or run `loginctl enable-linger`, then again"
)
_TEXTS = Environment(
    loader=PackageLoader("mhfd_client.schedule", "units"), undefined=StrictUndefined, keep_trailing_newline=True,
    autoescape=False,
)  # fmt: skip


class SystemdScheduler:
    """A service and a timer in the user's own folder; no administrator is needed."""

    def install(self, schedule: Schedule, *, dry_run: bool) -> Iterator[str]:
        title = title_of(schedule.name)
        changed = False
        for path, text in self.units(schedule).items():
            if dry_run:
                yield f"would write {path}:\n{text}"
            elif put(path, text.encode()):
                changed = True
                yield f"Written: {path}"
        if dry_run:
            yield f"would run: systemctl --user daemon-reload; systemctl --user enable --now {title}.timer"
            return
        if changed:
            _systemctl("daemon-reload")
        _systemctl("enable", f"{title}.timer")
        _systemctl("restart" if changed else "start", f"{title}.timer")
        yield f"{title}: {schedule.when}" if changed else f"{title} is up to date: {schedule.when}"
        yield "While nobody is logged in it runs only after `loginctl enable-linger`."

    def units(self, schedule: Schedule) -> dict[Path, str]:
        """The unit files -> their text; raises `ScheduleRefusedError` for arguments that no unit file can hold."""
        title = title_of(schedule.name)
        about = {
            "title": title, "when": schedule.when, "calendar": calendar(schedule.when),
            "command": escaped(schedule.command),
        }  # fmt: skip
        return {
            _folder() / f"{title}.{kind}": _TEXTS.get_template(f"mhfd-rescore.{kind}.j2").render(about)
            for kind in ("service", "timer")
        }

    def show(self, name: str | None) -> Shown:
        title = title_of(name)
        timer = _properties(f"{title}.timer", "LoadState", "ActiveState", "NextElapseUSecRealtime", "LastTriggerUSec")
        if timer["LoadState"] != "loaded":
            return Shown(title, "not installed")
        service = _properties(f"{title}.service", "ActiveState", "Result", "ExecMainStatus", "ExecMainExitTimestamp")
        return Shown(
            title,
            "on" if timer["ActiveState"] == "active" else "off",
            next_run=timer["NextElapseUSecRealtime"] or None,
            last_run=timer["LastTriggerUSec"] or None,
            last_result=_result(title, service),
        )

    def remove(self, name: str | None, *, dry_run: bool) -> Iterator[str]:
        title = title_of(name)
        files = [path for kind in ("timer", "service") if (path := _folder() / f"{title}.{kind}").is_file()]
        if not files:
            yield f"{title} is not installed."
            return
        if dry_run:
            yield f"would run: systemctl --user disable --now {title}.timer"
            yield from (f"would remove {path}" for path in files)
            return
        _systemctl("disable", "--now", f"{title}.timer")
        for path in files:
            path.unlink()
            yield f"Removed: {path}"
        _systemctl("daemon-reload")


def calendar(when: When) -> str:
    """The times as OnCalendar writes them."""
    if when.hours:
        return f"*-*-* {when.at.hour % when.hours:02}/{when.hours}:{when.at.minute:02}:00"
    day = f"{DAYS[when.day]} " if when.every == "7d" else ""
    return f"{day}*-*-* {when.at:%H:%M}:00"


def escaped(command: Sequence[str]) -> str:
    """A command line for ExecStart, in which %, $ and quotes have a meaning of their own.

    Raises
    ------
    ScheduleRefusedError
        An argument has a control character.
    """
    for each in command:
        if not each.isprintable():
            raise ScheduleRefusedError(f"{visible(each)} has a control character: give the folder a plain name")
    marks = {"\\": "\\\\", '"': '\\"', "%": "%%", "$": "$$"}
    return " ".join('"' + "".join(marks.get(mark, mark) for mark in each) + '"' for each in command)


def _folder() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "systemd" / "user"


def _systemctl(*arguments: str) -> str:
    try:
        return call("systemctl", "--user", *arguments, missing=MISSING)
    except ScheduleError as error:
        if "connect to bus" not in str(error):
            raise
        raise ScheduleError(f"{error}; {NO_SESSION}") from error


def _properties(unit: str, *names: str) -> dict[str, str]:
    said = _systemctl("show", unit, f"--property={','.join(names)}")
    found = dict(line.partition("=")[::2] for line in said.splitlines())
    return {name: "" if (value := found.get(name, "")) == "n/a" else value for name in names}


def _result(title: str, service: dict[str, str]) -> str | None:
    if service["ActiveState"] in ("activating", "active"):
        return "running"
    if not service["ExecMainExitTimestamp"]:
        return None
    if service["Result"] == "success":
        return "succeeded" if service["ExecMainStatus"] == "0" else f"exit code {service['ExecMainStatus']}"
    return f"{service['Result']}, exit code {service['ExecMainStatus']}: journalctl --user -u {title}"
