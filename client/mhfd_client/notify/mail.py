"""An e-mail."""

from __future__ import annotations

import smtplib
import ssl
from email.message import EmailMessage
from email.utils import formatdate, make_msgid

from mhfd.text import visible
from mhfd_client.config import NotifyEntry
from mhfd_client.notify.message import Message
from mhfd_client.notify.protocol import NotSentError
from mhfd_client.notify.secrets import secret

PORTS = {"starttls": 587, "ssl": 465, "none": 25}


class Mail:
    """Sends each message as a mail of plain text."""

    def __init__(self, name: str, entry: NotifyEntry) -> None:
        self.name, self._entry = name, entry

    def send(self, message: Message) -> None:
        entry = self._entry
        password = secret(self.name, entry.secret_variable)
        try:
            with self._connected() as server:
                if entry.security == "starttls":
                    server.starttls(context=ssl.create_default_context())
                if password is not None:
                    server.login(entry.user or "", password)
                server.send_message(self._written(message))
        except (OSError, smtplib.SMTPException) as error:
            raise NotSentError(f"[notify.{self.name}]: {_reason(error)}") from None

    def _connected(self) -> smtplib.SMTP:
        entry = self._entry
        host, port = entry.host or "", entry.port or PORTS[entry.security]
        if entry.security == "ssl":
            return smtplib.SMTP_SSL(host, port, timeout=entry.timeout_s, context=ssl.create_default_context())
        return smtplib.SMTP(host, port, timeout=entry.timeout_s)

    def _written(self, message: Message) -> EmailMessage:
        mail = EmailMessage()
        mail["Subject"] = f"mhfd: {visible(message.title)}"
        mail["From"], mail["To"] = self._entry.sender, ", ".join(self._entry.to)
        mail["Date"], mail["Message-ID"] = formatdate(localtime=True), make_msgid(domain="mhfd")
        mail["X-Mhfd-Id"] = message.id
        if message.urgent:
            mail["Importance"] = "high"
        mail.set_content("\n".join(map(visible, message.lines)) + "\n")
        return mail


def _reason(error: Exception) -> str:
    """What the server said; an answer to a login may quote it, so that is left out."""
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return f"the mail server refuses user or password ({error.smtp_code})"
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return f"the mail server refuses the recipients: {', '.join(error.recipients)}"
    return f"{error or type(error).__name__}"
