"""Files go where the endpoint can read them: one Protocol, three implementations.

=========  ==========================================================================================
shared.py  the endpoint reads the same disk; nothing is moved
inline.py  pixels travel in the task; nothing is moved
globus.py  Globus Transfer copies the files to a collection that the endpoint's workers can read
=========  ==========================================================================================

Files are handed over under a *ticket*, which the ledger stores first. After a crash the same files are handed over
again under the same ticket, and nothing is moved twice. The same tests run on all three:
tests/client/transfer/test_transfer.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mhfd.contract import ErrorCode, ExitCode, MhfdError
from mhfd_client.service.attended import SignInNeededError

Json = dict[str, Any]


class TransferError(MhfdError):
    """Files cannot be moved: all of them, not one. The message says what to do.

    `exit_code` is that of a command that ends with it.
    """

    exit_code = ExitCode.UNAVAILABLE


class TransferUnreachableError(TransferError):
    """The service, or a collection, is out of reach for now. Nothing is lost: try again.

    Parameters
    ----------
    after_s : try again after this time
    """

    def __init__(self, message: str, *, after_s: float = 0.0) -> None:
        super().__init__(message)
        self.after_s = after_s


class TransferRefusedError(TransferError):
    """Something that the configuration names is missing, or not allowed."""

    exit_code = ExitCode.CONFIG


class TransferSignInError(TransferError, SignInNeededError):
    """Somebody has to sign in, or to consent; the message has the command."""

    exit_code = ExitCode.SIGN_IN


@dataclass(frozen=True)
class Outgoing:
    """A file that is to be moved.

    Attributes
    ----------
    tile_ids : ids in the ledger, one per page
    path : relative to the run's root, with slashes
    size : in bytes
    returned : the endpoint could not read it where it arrived before
    """

    tile_ids: tuple[int, ...]
    file: Path
    path: str
    size: int
    generation: int
    returned: bool = False


@dataclass(frozen=True)
class Arrived:
    """The endpoint can read the file.

    Attributes
    ----------
    place : {"path"} or {"collection", "path"}, in a bundle also "offset", "size" and "sha256", as `score_paths` takes
        it; None if nothing was moved: the dispatcher
        names or sends the file
    """

    outgoing: Outgoing
    place: Json | None


@dataclass(frozen=True)
class NotSent:
    """The file did not arrive.

    Attributes
    ----------
    message : why, and what to do
    code : error code, if the file is at fault
    again : True: send it again, under a new ticket, after `after_s`; False: this file can never be sent
    """

    outgoing: Outgoing
    message: str
    code: ErrorCode | None
    again: bool
    after_s: float = 0.0


class Transfer(Protocol):
    """Moves files; its methods are called from one thread, and none waits for a file.

    After a `TransferError`, what was handed over stays handed over: call again.
    """

    @property
    def name(self) -> str:
        """ "shared", "inline" or "globus"."""
        ...

    def connect(self, *, interactive: bool | None = None) -> None:
        """Sign in, and ask for consents, now; later calls do nothing.

        Parameters
        ----------
        interactive : True if somebody may be asked; by default at the first call, in a terminal or a notebook

        Raises
        ------
        TransferError
            It cannot be done; the class says why.
        """
        ...

    def room(self) -> int:
        """How many files are worth handing over now; 0: wait."""
        ...

    def ticket(self) -> str:
        """A new ticket, to be stored with the files before they are handed over.

        Raises
        ------
        TransferError
            There is none for now.
        """
        ...

    def send(self, ticket: str, files: Sequence[Outgoing]) -> None:
        """Take over files; the next `poll` sends them. A ticket that is known already changes nothing."""
        ...

    def poll(self) -> list[Arrived | NotSent]:
        """Files decided since the last call, whose files must have been stored; waits for an answer of the service at
        most, and while small files are put together.

        Raises
        ------
        TransferError
            Somebody has to act before files can be sent. While the service is merely out of reach, nothing is
            raised: see `notices`.
        """
        ...

    def clean(self, places: Sequence[Json]) -> bool:
        """Have copies removed that are not needed any more; failures are in the log and in `notices`.

        Returns
        -------
        True if this process is needed for it no longer; False: ask again later
        """
        ...

    def sweep(self, used: Callable[[], Iterable[Json]]) -> None:
        """Remove what files were bundled in, here and at the endpoint, and what an earlier process left of it.

        Call it after `send` was called for every ticket that the ledger has, and after `poll`.

        Parameters
        ----------
        used : the places that are still needed
        """
        ...

    def notices(self) -> list[str]:
        """The current notices to a person, in sentences."""
        ...

    def close(self) -> None:
        """Release everything. Transfers under way go on, and are found again by ticket."""
        ...
