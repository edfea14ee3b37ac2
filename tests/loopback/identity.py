"""Who has signed in, as Globus Auth says it: a signed id_token, and the key to check it with."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

PERSON = "4b116d3c-1703-4f8f-9f6f-39921e5864df"


@cache
def _key() -> RSAPrivateKey:
    from cryptography.hazmat.primitives.asymmetric import rsa

    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def id_token(client_id: str) -> str:
    """For a client of OAuth: that the one person who is here has signed in."""
    import jwt

    now = int(time.time())
    claims = {"sub": PERSON, "aud": client_id, "iss": "https://auth.globus.org", "iat": now, "exp": now + 3600}
    return jwt.encode(claims, _key(), algorithm="RS256")


def public_key() -> dict[str, Any]:
    """As the service's jwks_uri gives it."""
    from jwt.algorithms import RSAAlgorithm

    return dict(json.loads(RSAAlgorithm.to_jwk(_key().public_key())), alg="RS256", use="sig")


def consents(scopes: Iterable[str]) -> Iterator[dict[str, Any]]:
    """What the person allowed, one entry a scope and one for each that it depends on ("scope[*other]")."""
    moment = "2026-01-01T00:00:00+00:00"
    number = 0
    for scope in sorted(set(scopes)):
        name, _, inner = scope.partition("[")
        path: list[int] = []
        for each in [name, *inner.removesuffix("]").replace("*", "").split()]:
            number += 1
            yield {
                "id": number, "client": PERSON, "scope": each, "scope_name": each, "effective_identity": PERSON,
                "dependency_path": [*path, number], "created": moment, "updated": moment, "last_used": moment,
                "status": "approved", "allows_refresh": True, "auto_approved": False, "atomically_revocable": True,
            }  # fmt: skip
            path = path or [number]
