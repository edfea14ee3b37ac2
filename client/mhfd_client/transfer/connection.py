"""A signed-in service, with both collections checked."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING
from uuid import UUID

from mhfd.extras import install_hint
from mhfd_client.config.writing import command_line
from mhfd_client.service.attended import somebody_is_there
from mhfd_client.service.pacing import TokenBucket
from mhfd_client.transfer.protocol import TransferRefusedError
from mhfd_client.transfer.staging import HOME, Staging

if TYPE_CHECKING:
    from mhfd_client.transfer.service import Service


class Connection:
    """Signs in, and checks that both collections can be used.

    Parameters
    ----------
    endpoint : the Compute endpoint whose configuration asks for the transfer

    Attributes
    ----------
    ready : signed in, and both collections were checked
    expired : the sign-in, or a consent, is no longer accepted
    """

    def __init__(self, endpoint: UUID, staging: Staging, bucket: TokenBucket) -> None:
        self.bucket = bucket
        self.expired = False
        self._endpoint = endpoint
        self._staging = staging
        self._service: Service | None = None
        self._asked = False
        self.ready = False

    @property
    def usable(self) -> bool:
        return self.ready and not self.expired

    @property
    def service(self) -> Service:
        if not self.ready or self._service is None:
            raise RuntimeError("call connect first")
        return self._service

    def open(self, *, interactive: bool | None) -> None:
        """Sign in, and ask for consents; later calls do nothing. See `Transfer.connect`."""
        if self.usable:
            return
        if interactive is None:  # later somebody may be there, but does not expect to be asked
            interactive = not self._asked and somebody_is_there()
        self._asked = True
        if self._service is None or self.expired:  # a command in a terminal may have signed in meanwhile
            former, self._service = self._service, self._signed_in(interactive)
            if former is not None:
                former.close()
        self._look_at_collections(self._service, interactive)
        self.ready, self.expired = True, False

    def _signed_in(self, interactive: bool) -> Service:
        try:
            from mhfd_client.transfer.service import Service
        except ImportError as error:
            raise TransferRefusedError(
                f"Globus Transfer needs the Globus SDKs, which are missing ({error}): {install_hint('globus')}"
            ) from error
        root = str(self._staging.local_root)
        command = command_line("python", "-m", "mhfd_client.transfer", str(self._endpoint), root)
        return Service(command, self.bucket, interactive=interactive)

    def close(self) -> None:
        service, self._service = self._service, None
        self.ready = False
        if service is not None:
            service.close()

    def _look_at_collections(self, service: Service, interactive: bool) -> None:
        """Check both collections now, while somebody may consent or correct the configuration."""
        from mhfd_client.transfer.service import NotFoundError

        staging = self._staging
        try:
            service.look(staging.source_collection, staging.source_folder, interactive=interactive)
        except NotFoundError as error:
            raise TransferRefusedError(
                f"the folder {staging.source_folder} is not in the source collection {staging.source_collection}: set "
                "source_root to what the collection calls local_root, and with Globus Connect Personal allow the "
                f"folder under Options > Access ({error})"
            ) from error
        if staging.needs_home:
            home = service.look(staging.destination_collection, HOME, interactive=interactive)
            if not home.get("absolute_path"):
                raise TransferRefusedError(
                    f"the collection {staging.destination_collection} does not say where {HOME} is: set "
                    "destination_root to a full path, or endpoint_root to what the endpoint's workers call it"
                )
            staging.know_home(home["absolute_path"])
        with contextlib.suppress(NotFoundError):  # Transfer makes the folders with the first file
            service.look(staging.destination_collection, staging.destination_folder, interactive=interactive)
