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
