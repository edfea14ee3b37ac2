"""A POST of JSON."""

from __future__ import annotations

import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Any

from mhfd._version import __version__
from mhfd.text import json_text, visible
from mhfd_client.config import NotifyEntry
from mhfd_client.notify.message import Message
from mhfd_client.notify.protocol import NotSentError
from mhfd_client.notify.secrets import address, secret


class Webhook:
    """Posts each message to a URL; `text` is what Slack, Mattermost and others show."""

    def __init__(self, name: str, entry: NotifyEntry) -> None:
        self.name, self._entry = name, entry

    def send(self, message: Message) -> None:
        where = f"[notify.{self.name}]"
        url = address(self.name, self._entry.url, self._entry.url_variable)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"mhfd/{__version__}",
            "Idempotency-Key": message.id,
        }
        if word := secret(self.name, self._entry.secret_variable):
            headers[self._entry.secret_header] = word
        body = {
            "id": message.id,
            "title": visible(message.title),
            "text": "\n".join(map(visible, (message.title, *message.lines))),
            "urgent": message.urgent,
            **message.data,
        }
        try:
            if not url.startswith(("https://", "http://")):
                raise NotSentError(f"{where}: a webhook's URL begins with https:// or http://")
            request = urllib.request.Request(url, json_text(body).encode(), headers, method="POST")
            with _post(request, timeout=self._entry.timeout_s) as answer:
                answer.read(1000)
        except urllib.error.HTTPError as error:
            error.close()
            raise NotSentError(f"{where}: the server answered {error.code} {error.reason}") from None
        except urllib.error.URLError as error:
            raise NotSentError(f"{where}: {error.reason}") from None
        except (OSError, HTTPException, ValueError) as error:  # their texts may quote the URL
            raise NotSentError(f"{where}: the server cannot be talked to ({type(error).__name__})") from None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The secret is for one server, and a POST that is redirected becomes a GET."""

    def redirect_request(self, *given: Any) -> None:
        return None


_post = urllib.request.build_opener(_NoRedirect).open
