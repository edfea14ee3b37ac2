"""Which channels there are."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from mhfd.text import nearest
from mhfd_client.config import Config, ConfigError, NotifyEntry
from mhfd_client.notify.desktop import Desktop
from mhfd_client.notify.mail import Mail
from mhfd_client.notify.protocol import Channel
from mhfd_client.notify.services import Services
from mhfd_client.notify.webhook import Webhook

KINDS: dict[str, Callable[[str, NotifyEntry], Channel]] = {
    "webhook": Webhook, "email": Mail, "desktop": Desktop, "apprise": Services
}  # fmt: skip


def open_channels(config: Config, names: Iterable[str]) -> list[Channel]:
    """The channels of these names.

    Raises
    ------
    ConfigError
        The configuration has no such channel.
    """
    return [_opened(config, name) for name in dict.fromkeys(names)]


def _opened(config: Config, name: str) -> Channel:
    entry = config.notify.get(name)
    if entry is None:
        hint = nearest(name, config.notify) if config.notify else "add it"
        raise ConfigError(f"there is no channel [notify.{name}] in the configuration; {hint}")
    return KINDS[entry.kind](name, entry)
