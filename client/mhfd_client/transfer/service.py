"""Globus Transfer's requests: each waits for the token bucket, is made once, and its failure says what to do.

The caller (globus.py) tries again. Imports the SDKs: 0.7 s.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, Literal

from globus_sdk import (
    MISSING,
    AuthAPIError,
    ClientApp,
    DeleteData,
    GlobusAPIError,
    GlobusError,
    NetworkError,
    TransferClient,
    TransferData,
)
from globus_sdk.exc import AuthorizationParameterInfo
from globus_sdk.gare import to_gare
from globus_sdk.token_storage import TokenValidationError

from mhfd_client.service import signin
from mhfd_client.service.attended import SignInNeededError
from mhfd_client.service.pacing import TokenBucket, make_once, retry_after_s
from mhfd_client.transfer.protocol import (
    Json,
    TransferError,
    TransferRefusedError,
    TransferSignInError,
    TransferUnreachableError,
)

TIMEOUT_S = 30.0
SIGN_INS = 3  # one after another: a consent, an account of the facility, a second factor
CLOCK_S = 1.0  # precision of the service's clock: its answers have whole seconds

Listing = Literal["successful_transfers", "skipped_errors"]


@dataclass(frozen=True)
class Submission:
    """The options that all tasks of a run share.

    Attributes
    ----------
    source, destination : UUIDs of collections
    label : name of the tasks in Globus's lists
    deadline_s : time after which Globus ends a task
    """

    source: str
    destination: str
    label: str
    deadline_s: float


@dataclass(frozen=True)
class Item:
    """A file to copy.

    Attributes
    ----------
    sha256 : of the file, which must not change: one that differs fails the whole task
    """

    source: str
    destination: str
    sha256: str | None = None


class NotFoundError(TransferRefusedError):
    """The service knows no such task, or a collection no such folder."""


class TicketError(TransferRefusedError):
    """The service did not give out this submission id, or has forgotten it."""


class BusyError(TransferUnreachableError):
    """The same files are on their way in another task."""


class Service:
    """The signed-in service.

    Parameters
    ----------
    command : the command that signs in, for messages
    bucket : limits the rate of requests
    """

    def __init__(self, command: str, bucket: TokenBucket, *, interactive: bool) -> None:
        self.bucket = bucket
        self._command = command
        self._ahead_s = 0.0  # of the service's clock before ours
        self._is_program = False  # an identity of its own, which nobody can ask to sign in
        self._app = self._guarded(lambda: signin.sign_in(interactive=interactive))
        self._is_program = isinstance(self._app, ClientApp)
        self._client = TransferClient(app=self._app)
        make_once(self._client)
        self._client.transport.http_timeout = TIMEOUT_S
        try:
            self.log_in(interactive=interactive)
        except TransferError:
            self.close()
            raise

    def close(self) -> None:
        self._client.close()
        self._app.close()

    # --- Signing in -----------------------------------------------------------------------------------------------

    def log_in(self, *, interactive: bool, anew: bool = False) -> None:
        """Sign in for the scopes that the app requires by now."""
        with signin.asking(interactive):
            self._guarded(lambda: self._app.login(force=anew))  # does nothing while the stored tokens are valid

    def look(self, collection: str, path: str, *, interactive: bool) -> Json:
        """List one entry of a folder; ask for consent to the collection, or for another sign-in, where that is needed.

        Raises
        ------
        NotFoundError
            There is no such folder.
        TransferError
            The collection cannot be used.
        """
        return self._look(collection, path, interactive, SIGN_INS)

    def _look(self, collection: str, path: str, interactive: bool, sign_ins: int) -> Json:
        try:
            return self.ask(lambda: self._client.operation_ls(collection, path=path, limit=1))
        except TransferSignInError as error:
            if not sign_ins:
                raise
            self._satisfy(error, collection, interactive=interactive)
        return self._look(collection, path, interactive, sign_ins - 1)

    def _satisfy(self, error: TransferSignInError, collection: str, *, interactive: bool) -> None:
        """Ask for what a refused request lacks; raise its error where nobody may be asked.

        A collection may want a consent, which a program can give itself, or a sign-in of a certain kind: with an
        identity of the facility, or a second factor. Globus says which, and that goes into the new sign-in unchanged.
        """
        cause = error.__cause__
        if _wants_consent(cause):
            self._client.add_app_data_access_scope(collection)
            self.log_in(interactive=interactive, anew=True)
            return
        if not interactive or self._is_program:
            raise error
        gare = to_gare(cause) if isinstance(cause, GlobusAPIError) else None
        with signin.asking(interactive):
            self._guarded(lambda: self._app.login(auth_params=gare and gare.authorization_parameters, force=True))

    def names(self, collection: str, path: str) -> list[str]:
        """The names in a folder; none if there is no such folder."""
        try:
            found = self.ask(lambda: self._client.operation_ls(collection, path=path))
        except NotFoundError:
            return []
        return [str(each["name"]) for each in found["DATA"]]

    # --- Requests -------------------------------------------------------------------------------------------------

    def submission_id(self) -> str:
        return str(self.ask(self._client.get_submission_id)["value"])

    def submit(self, submission: str, items: Iterable[Item], about: Submission) -> tuple[str, bool]:
        """Copy files; the task's id, and True if it is a new one.

        Raises
        ------
        TicketError
            The submission id is no longer valid.
        BusyError
            The same files are on their way already.
        """
        document = TransferData(
            about.source,
            about.destination,
            submission_id=submission,
            sync_level="checksum",
            verify_checksum=True,
            skip_source_errors=True,  # one file that is gone does not stop the others
            fail_on_quota_errors=True,  # known at once, not at the deadline
            **self._options(about),
        )
        for each in items:
            digest = (each.sha256, "SHA256") if each.sha256 else (MISSING, MISSING)
            document.add_item(each.source, each.destination, external_checksum=digest[0], checksum_algorithm=digest[1])
        answer = self.ask(lambda: self._client.submit_transfer(document))
        return str(answer["task_id"]), answer["code"] != "Duplicate"

    def delete(self, files: Iterable[str], about: Submission, *, recursive: bool = False) -> str:
        """Remove files, or folders, that are still at the destination; the task's id."""
        submission = self.submission_id()
        document = DeleteData(
            about.destination,
            submission_id=submission,
            ignore_missing=True,
            recursive=recursive,
            **self._options(about),
        )
        for file in files:
            document.add_item(file)
        return str(self.ask(lambda: self._client.submit_delete(document))["task_id"])

    def _options(self, about: Submission) -> dict[str, Any]:
        then = datetime.fromtimestamp(time.time() + self._ahead_s + CLOCK_S + about.deadline_s, timezone.utc)
        deadline = then.isoformat(timespec="seconds")  # by the service's clock: that of a microscope may be wrong
        quiet = {f"notify_on_{event}": False for event in ("succeeded", "failed", "inactive")}
        return {"label": about.label, "deadline": deadline, **quiet}

    def task(self, task_id: str) -> Json:
        return self.ask(lambda: self._client.get_task(task_id))

    def cancel(self, task_id: str) -> None:
        self.ask(lambda: self._client.cancel_task(task_id))

    def page(self, listing: Listing, task_id: str, marker: str | None) -> Json:
        """One page of a listing, from `marker` on: {"DATA", "next_marker"}."""
        listings: dict[Listing, Callable[..., Any]] = {
            "successful_transfers": self._client.task_successful_transfers,
            "skipped_errors": self._client.task_skipped_errors,
        }
        more = {} if marker is None else {"marker": marker}
        return self.ask(lambda: listings[listing](task_id, **more))

    def trouble(self, task_id: str) -> str:
        """The latest error, in Globus's words."""
        query = {"filter": "is_error:1"}
        found = self.ask(lambda: self._client.task_event_list(task_id, limit=1, query_params=query))["DATA"]
        return f"{found[0]['description']}: {_short(found[0]['details'])}" if found else ""

    def pause_message(self, task_id: str) -> str:
        """Who paused the task, and their messages."""
        found = self.ask(lambda: self._client.task_pause_info(task_id))
        told = [f"the {side}: {found[f'{side}_pause_message']}" for side in SIDES if found.get(f"{side}_pause_message")]
        told += [f"a rule: {rule['message']}" for rule in found.get("pause_rules") or () if rule.get("message")]
        return "; ".join(told)

    def seconds_until(self, moment: str) -> float:
        """Seconds from now, by the service's clock."""
        then = datetime.fromisoformat(moment.replace(" ", "T").replace("Z", "+00:00"))
        then = then if then.tzinfo else then.replace(tzinfo=timezone.utc)
        return then.timestamp() - time.time() - self._ahead_s

    def ask(self, request: Callable[[], Any]) -> Json:
        """Make a request; its answer as plain data.

        Raises
        ------
        TransferError
            No answer; the class says why.
        """
        if (wait_s := self.bucket.delay_s()) > TIMEOUT_S:
            raise TransferUnreachableError("Globus Transfer asked for a pause", after_s=wait_s)
        self.bucket.take()
        answer = self._guarded(request)
        if not isinstance(answer.data, dict):  # a proxy's or a hotel's page
            raise TransferUnreachableError("something other than Globus Transfer answered; check network and proxy")
        if date := answer.headers.get("Date"):
            self._ahead_s = parsedate_to_datetime(date).timestamp() - time.time()
        return answer.data

    def _guarded(self, request: Callable[[], Any]) -> Any:
        try:
            return request()
        except (GlobusError, SignInNeededError, ValueError) as error:
            judged = self._judged(error)
            if isinstance(judged, TransferUnreachableError):
                self.bucket.hold(judged.after_s)
            raise judged from error

    def _judged(self, error: Exception) -> TransferError:
        """The error to raise for a failed request, by the service's status and code."""
        reason = f"{type(error).__name__}: {error}"
        if isinstance(error, NetworkError):
            return TransferUnreachableError(f"Globus Transfer is out of reach ({reason})")
        if isinstance(error, ValueError) and not isinstance(error, TokenValidationError):  # of the environment, say
            return TransferRefusedError(f"Globus Transfer cannot be used as things are set up ({reason})")
        if not isinstance(error, GlobusAPIError):
            return self._sign_in(reason)
        status, code = error.http_status, str(error.code or "")
        reason = f"{status} {code}: {error.message}"
        if status == 429 or (status >= 500 and not code.startswith("ExternalError")):
            return TransferUnreachableError(
                f"Globus Transfer is not available ({reason})", after_s=retry_after_s(error)
            )
        if status == 401 or _wants_consent(error) or error.info.authorization_parameters:
            return self._sign_in(reason, wanted(error.info.authorization_parameters))
        if isinstance(error, AuthAPIError):
            return self._sign_in(reason)
        if status == 409:
            return BusyError(f"the same files are on their way already ({reason})")
        if "GCDisconnected" in code or "NotConnected" in code:
            return TransferUnreachableError(f"Globus Connect Personal is not running: start it ({reason})")
        if "PermissionDenied" in code or status == 403:
            return TransferRefusedError(
                f"Globus may not use this folder or collection ({reason}): with Globus Connect Personal, allow the "
                "folder under Options > Access; otherwise ask the collection's administrator"
            )
        if status == 404:
            return NotFoundError(f"Globus knows no such collection, folder or task ({reason}); check the configuration")
        if status >= 500:
            return TransferUnreachableError(f"the collection does not answer ({reason})")
        if "submission" in (error.message or "").lower():
            return TicketError(reason)
        return TransferRefusedError(f"Globus Transfer refuses the request ({reason})")

    def _sign_in(self, reason: str, how: str = "") -> TransferSignInError:
        if how and self._is_program:
            return TransferSignInError(
                f"a collection wants somebody to sign in {how}, which a program's own identity cannot: unset "
                f"GLOBUS_COMPUTE_CLIENT_ID and GLOBUS_COMPUTE_CLIENT_SECRET and run `{self._command}` in a terminal, "
                f"or have the collection's administrator admit the program ({reason})"
            )
        if how:
            return TransferSignInError(
                f"a collection wants you to sign in {how}: run `{self._command}` in a terminal, it asks for that "
                f"({reason})"
            )
        return TransferSignInError(
            f"Globus wants you to sign in, or to consent to mhfd's using a collection: run `{self._command}` in a "
            "terminal, or set GLOBUS_COMPUTE_CLIENT_ID and GLOBUS_COMPUTE_CLIENT_SECRET for an unattended "
            f"program ({reason})"
        )


SIDES = ("source", "destination")


def wanted(info: AuthorizationParameterInfo) -> str:
    """How to sign in, in words; "" if nothing special is wanted."""
    ways = [
        (info.session_required_identities, "as {}"),
        (info.session_required_single_domain, "with an account of {}"),
        (info.session_required_policies, "as its policy {} asks"),
    ]
    told = [words.format(" or ".join(given)) for given, words in ways if given]
    if info.session_required_mfa:
        told.append("with a second factor")
    if told and info.session_message:
        told.append(f'("{_short(info.session_message)}")')
    return " ".join(told)


def _wants_consent(error: BaseException | None) -> bool:
    return isinstance(error, GlobusAPIError) and (bool(error.info.consent_required) or error.code == "ConsentRequired")


def _short(details: str) -> str:
    return " ".join(str(details).split())[:200]
