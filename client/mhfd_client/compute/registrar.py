"""Registering functions at the service as the identity that all our requests have."""

from __future__ import annotations

from typing import Any

from mhfd.contract import MhfdError
from mhfd.extras import install_hint
from mhfd_client.compute.protocol import ComputeError, ComputeSignInError, EndpointUnavailableError
from mhfd_client.service.attended import somebody_is_there


class SignedInRegistrar:
    """See `mhfd.registry.Registrar`. Signs in when the first function is registered; asks only where somebody is."""

    def __init__(self) -> None:
        self._client: Any = None

    def register_source_code(
        self, source: str, function_name: str, description: str | None = None, *, public: bool, group: str | None
    ) -> str:
        """Register a function; its UUID.

        Raises
        ------
        MhfdError
            Somebody has to sign in, the service is out of reach, or it refuses the function.
        """
        try:
            self._client = self._client or _sdk_client()
            return str(
                self._client.register_source_code(source, function_name, description, public=public, group=group)
            )
        except (MhfdError, EOFError):
            raise
        except Exception as error:  # the SDKs raise nearly anything
            raise _refusal(error) from error


def _sdk_client() -> Any:
    try:
        from globus_compute_sdk import Client

        from mhfd_client.service.signin import sign_in
    except ImportError as error:
        raise ComputeError(f"registering needs globus-compute-sdk ({error}): {install_hint('globus')}") from error
    return Client(app=sign_in(interactive=somebody_is_there()), do_version_check=False)


def _refusal(error: Exception) -> ComputeError:
    status, reason = getattr(error, "http_status", None), f"{type(error).__name__}: {error}"
    if status in (401, 403):
        return ComputeSignInError(
            f"Globus does not let this identity register functions ({reason}); sign in as another"
        )
    if status is not None and 400 <= status < 500 and status != 429:
        return ComputeError(f"the service refuses the function ({reason})")
    return EndpointUnavailableError(f"Globus Compute cannot be reached ({reason}); try again later")
