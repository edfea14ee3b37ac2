"""Signing in to Globus, once for both services. Imports the SDKs: 0.7 s."""

from __future__ import annotations

import platform
from collections.abc import Generator
from contextlib import contextmanager

from globus_compute_sdk.sdk.auth.globus_app import DEFAULT_CLIENT_ID, get_globus_app
from globus_compute_sdk.sdk.auth.token_storage import get_token_storage
from globus_sdk import AuthLoginClient, GlobusApp, GlobusAppConfig, OAuthTokenResponse, UserApp
from globus_sdk.gare import GlobusAuthorizationParameters
from globus_sdk.login_flows import CommandLineLoginFlowManager, LoginFlowManager
from globus_sdk.scopes import ComputeScopes

from mhfd_client.service.attended import SignInNeededError

COMMAND = 'python -c "from globus_compute_sdk import Client; Client().get_endpoints()"'


class Login(LoginFlowManager):
    """Asks on the terminal within `asking`; elsewhere it raises an error that says what to do instead."""

    interactive = False

    def run_login_flow(self, auth_parameters: GlobusAuthorizationParameters) -> OAuthTokenResponse:
        if not type(self).interactive:
            raise SignInNeededError(
                f"Globus wants you to sign in: run {COMMAND} in a terminal, or set GLOBUS_COMPUTE_CLIENT_ID and "
                "GLOBUS_COMPUTE_CLIENT_SECRET for a program that runs unattended"
            )
        terminal = CommandLineLoginFlowManager(self.login_client, request_refresh_tokens=self.request_refresh_tokens)
        return terminal.run_login_flow(auth_parameters)

    @classmethod
    def for_globus_app(cls, app_name: str, login_client: AuthLoginClient, config: GlobusAppConfig) -> Login:
        return cls(login_client, request_refresh_tokens=config.request_refresh_tokens)


@contextmanager
def asking(interactive: bool) -> Generator[None, None, None]:
    """Allow asking the user within the block, if `interactive`; never after it."""
    Login.interactive = interactive
    try:
        yield
    finally:
        Login.interactive = False


def sign_in(*, interactive: bool) -> GlobusApp:
    """Return the identity for all requests: the environment's, else the user's, who may be asked now but not later.

    Raises
    ------
    SignInNeededError
        Somebody has to sign in, and nobody may be asked.
    """
    app = get_globus_app()
    if isinstance(app, UserApp):
        config = GlobusAppConfig(
            token_storage=get_token_storage(), request_refresh_tokens=True, login_flow_manager=Login
        )
        app = UserApp(app_name=platform.node(), client_id=app.client_id or DEFAULT_CLIENT_ID, config=config)
    with asking(interactive):
        app.add_scope_requirements({ComputeScopes.resource_server: [ComputeScopes.all]})
        app.login()  # does nothing while the stored tokens will do
    return app


def signed_in_until() -> float | None:
    """When the stored sign-in ends, Unix seconds; None where no time is known, or nobody has signed in.

    Reads Globus's store on this machine, without network. Access tokens last two days and are renewed silently with a
    refresh token, whose own end is written nowhere (Globus: six months without use). So a time is known only where a
    service's tokens have no refresh token. A program's own identity (GLOBUS_COMPUTE_CLIENT_ID) needs no sign-in.
    """
    storage = get_token_storage()
    try:
        if not storage.namespace.startswith("user/"):
            return None
        tokens = storage.get_token_data_by_resource_server().values()
    finally:
        storage.close()
    ends = [each.expires_at_seconds for each in tokens if each.refresh_token is None]
    return float(min(ends)) if ends else None
