"""Nobody is asked to sign in from the background."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from mhfd_client.service.attended import SignInNeededError


@pytest.fixture
def signin() -> Any:
    pytest.importorskip("globus_compute_sdk")
    from mhfd_client.service import signin

    return signin


def test_somebody_may_be_asked_only_within_asking(signin: Any) -> None:
    with signin.asking(True):
        assert signin.Login.interactive
    assert not signin.Login.interactive


def test_nobody_is_asked_to_sign_in_from_the_background(signin: Any) -> None:
    from globus_sdk import NativeAppAuthClient
    from globus_sdk.gare import GlobusAuthorizationParameters

    login = signin.Login(NativeAppAuthClient(uuid4()), request_refresh_tokens=True)
    with pytest.raises(SignInNeededError, match="GLOBUS_COMPUTE_CLIENT_ID") as caught:
        login.run_login_flow(GlobusAuthorizationParameters())
    assert caught.value.exit_code == 77


@pytest.mark.skipif(sys.platform == "win32", reason="the store of tokens is looked for elsewhere there")
def test_user_who_never_signed_in_is_told_how(signin: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GLOBUS_COMPUTE_CLIENT_ID", "GLOBUS_COMPUTE_CLIENT_SECRET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GLOBUS_COMPUTE_USER_DIR", str(tmp_path / "globus"))
    with pytest.raises(SignInNeededError, match="Client"):
        signin.sign_in(interactive=False)


# --- The end of a sign-in -----------------------------------------------------------------------------------------


def store(folder: Path, *, refresh_token: str | None, end: int) -> None:
    """Put tokens into Globus's own store."""
    from globus_compute_sdk.sdk.auth.token_storage import get_token_storage
    from globus_sdk.token_storage import TokenStorageData

    data = TokenStorageData("funcx_service", None, "all", "access", refresh_token, end, "Bearer")
    storage = get_token_storage()
    storage.store_token_data_by_resource_server({"funcx_service": data})
    storage.close()


@pytest.fixture
def globus(signin: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("GLOBUS_COMPUTE_CLIENT_ID", "GLOBUS_COMPUTE_CLIENT_SECRET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GLOBUS_COMPUTE_USER_DIR", str(tmp_path))
    return tmp_path


def test_tokens_without_a_refresh_token_end_when_they_say(signin: Any, globus: Path) -> None:
    store(globus, refresh_token=None, end=1_900_000_000)
    assert signin.signed_in_until() == 1.9e9


def test_tokens_that_are_renewed_have_no_known_end(signin: Any, globus: Path) -> None:
    assert signin.signed_in_until() is None  # nobody has signed in
    store(globus, refresh_token="refresh", end=1_900_000_000)
    assert signin.signed_in_until() is None


def test_a_programs_own_identity_has_no_end(signin: Any, globus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store(globus, refresh_token=None, end=1_900_000_000)
    monkeypatch.setenv("GLOBUS_COMPUTE_CLIENT_ID", "4b116d3c-1703-4f8f-9f6f-39921e5864df")
    monkeypatch.setenv("GLOBUS_COMPUTE_CLIENT_SECRET", "secret")
    assert signin.signed_in_until() is None
