"""The endpoint reads the same disk, perhaps under another name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mhfd_client.transfer.immediate import Immediate
from mhfd_client.transfer.protocol import Arrived, Json, NotSent, Outgoing

if TYPE_CHECKING:
    from mhfd_client.config import DataMapping


class SharedTransfer(Immediate):
    """Finds each file's path on the endpoint.

    Parameters
    ----------
    mappings : the endpoint's `data`; None for this machine, where paths are the same
    """

    name = "shared"

    def __init__(self, mappings: Sequence[DataMapping] | None = None) -> None:
        super().__init__(self._look_up)
        self._mappings = mappings

    def _look_up(self, outgoing: Outgoing) -> Arrived | NotSent:
        if self._mappings is None:
            return Arrived(outgoing, None)
        for mapping in self._mappings:
            if found := mapping.at_endpoint(str(outgoing.file), None, ""):
                return Arrived(outgoing, _place(found))
        return NotSent(outgoing, self._nowhere(outgoing), "permission_denied", again=False)

    def _nowhere(self, outgoing: Outgoing) -> str:
        known = ", ".join(str(mapping.local_root or mapping.root) for mapping in self._mappings or ()) or "none"
        return (
            f"the endpoint does not see {outgoing.file}, which is in none of its folders ({known}): add to the "
            f"endpoint's entry of the configuration data = [{{local_root = '{outgoing.file.parent}', root = "
            "'path of the same folder on the endpoint'}], or set transfer.method to 'inline' or 'globus'"
        )


def _place(found: Json) -> Json:
    return {key: found[key] for key in ("collection", "path") if key in found}
