"""Whatever apprise knows: Slack, Teams, Telegram, ntfy, Windows' and macOS' notifications, and a hundred more."""

from __future__ import annotations

import logging

from mhfd.extras import install_hint
from mhfd.text import visible
from mhfd_client.config import NotifyEntry
from mhfd_client.notify.message import Message
from mhfd_client.notify.protocol import NotSentError
from mhfd_client.notify.secrets import address


class Services:
    """Hands each message to apprise, which knows whom its URLs name."""

    def __init__(self, name: str, entry: NotifyEntry) -> None:
        self.name, self._entry = name, entry

    def send(self, message: Message) -> None:
        where = f"[notify.{self.name}]"
        try:
            import apprise
        except ImportError:
            raise NotSentError(f"{where}: apprise is not installed: {install_hint('notify')}") from None
        urls = address(self.name, self._entry.url, self._entry.url_variable)
        logging.getLogger("apprise").setLevel(logging.CRITICAL)  # its messages may quote URLs, which are secrets
        service = apprise.Apprise()
        if not service.add(urls.split()):
            raise NotSentError(f"{where}: apprise does not know what its URL names")
        sent = service.notify(
            title=visible(message.title),
            body="\n".join(map(visible, message.lines)),
            notify_type=apprise.NotifyType.WARNING if message.urgent else apprise.NotifyType.INFO,
            body_format=apprise.NotifyFormat.TEXT,
        )
        if not sent:
            raise NotSentError(f"{where}: apprise could not send it")
