"""Access tokens that say what they are good for: what both token services here give out, and the services look into."""

from __future__ import annotations

import base64
import json
import re
import uuid
from collections.abc import Mapping
from typing import Any

from globus_sdk.scopes import Scope, ScopeParser

OF_A_CLIENT = re.compile(r"https://auth\.globus\.org/scopes/([^/]+)/")
RESOURCE_SERVERS = {  # a part of the scope -> who asks for the token; else it is the client named in the scope
    "facd7ccc-c5f4-42aa-916b-a0e270e2c2a9": "funcx_service",
    "transfer.api": "transfer.api.globus.org",
    "eec9b274-0c81-4334-bdc2-54e90e689b9a": "flows.globus.org",
}


def issue(scopes: str, prefix: str, session: Mapping[str, str] | None = None, **more: str) -> dict[str, Any]:
    """Answer a token request: a token for each service whose scopes are asked for.

    Parameters
    ----------
    scopes : as a form has them, dependencies in brackets, separated by blanks
    session : what the person who signed in has shown
    more : goes with each token
    """
    by_server: dict[str, list[Scope]] = {}
    for scope in ScopeParser.parse(scopes):
        by_server.setdefault(_server_of(scope.scope_string), []).append(scope)
    told = json.dumps(session or {}, separators=(",", ":"))
    first, *others = (
        {
            "access_token": prefix + _encoded(f"{' '.join(map(str, asked))} {uuid.uuid4()}\n{told}"),
            "scope": " ".join(scope.scope_string for scope in asked),
            "expires_in": 48 * 3600,
            "token_type": "Bearer",
            "resource_server": server,
            **more,
        }
        for server, asked in by_server.items()
    )
    return {**first, "other_tokens": others}


def scopes_of(token: str, prefix: str) -> str | None:
    """The scopes that a token was asked for, dependencies in brackets; None for a token of somebody else."""
    return _decoded(token.removeprefix(prefix)).partition("\n")[0] if token.startswith(prefix) else None


def session_of(token: str, prefix: str) -> dict[str, str] | None:
    """What the person behind a token has shown; None for a token of somebody else."""
    return json.loads(_decoded(token.removeprefix(prefix)).partition("\n")[2]) if token.startswith(prefix) else None


def _encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()


def _decoded(text: str) -> str:
    return base64.urlsafe_b64decode(text).decode()


def _server_of(scope: str) -> str:
    named = next((name for part, name in RESOURCE_SERVERS.items() if part in scope), None)
    if named is not None:
        return named
    client = OF_A_CLIENT.match(scope)
    return client[1] if client else "auth.globus.org"
