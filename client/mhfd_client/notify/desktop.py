"""A notification on the desktop of this machine, by the D-Bus service org.freedesktop.Notifications."""

from __future__ import annotations

import html
import shutil
import subprocess

from mhfd.text import visible
from mhfd_client.config import NotifyEntry
from mhfd_client.notify.message import Message
from mhfd_client.notify.protocol import NotSentError

PROGRAM = "notify-send"
LINES = 6
"""A notification is small."""


class Desktop:
    """Shows each message with `notify-send` of libnotify."""

    def __init__(self, name: str, entry: NotifyEntry) -> None:
        self.name, self._timeout_s = name, entry.timeout_s

    def send(self, message: Message) -> None:
        where, program = f"[notify.{self.name}]", shutil.which(PROGRAM)
        if program is None:
            raise NotSentError(
                f"{where}: {PROGRAM} is not installed (Debian: apt-get install libnotify-bin); on Windows and macOS "
                'use kind = "apprise" with url = "windows://" or "macosx://"'
            )
        lines = [visible(each) for each in message.lines[:LINES]]
        # Desktops read some HTML, and notify-send backslashes.
        body = html.escape("\n".join(lines), quote=False).replace("\\", "\\\\")
        urgency = "critical" if message.urgent else "normal"
        command = [program, "--app-name=mhfd", f"--urgency={urgency}", "--", visible(message.title), body]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=self._timeout_s, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NotSentError(f"{where}: {PROGRAM} did not answer ({type(error).__name__})") from None
        if done.returncode != 0:
            raise NotSentError(f"{where}: {visible(done.stderr.strip()) or PROGRAM + ' failed'}")
