"""A flow at Globus, and a timer there that runs it: nothing of ours has to be running.

All schedules of a user share one flow, found by its title and changed in place. A timer is found by its name. What a
timer runs cannot be changed, so another one is made, and then the old one goes: interrupted in between there are two
of a name, of which the next `install` keeps the right one.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mhfd.contract import ExitCode
from mhfd.extras import install_hint
from mhfd.text import json_text
from mhfd_client.config import load_config
from mhfd_client.schedule.flow_input import definition, flow_input, input_schema, with_transfer
from mhfd_client.schedule.protocol import STEM, Schedule, ScheduleError, Shown, title_of
from mhfd_client.service.attended import SignInNeededError, somebody_is_there

if TYPE_CHECKING:
    import globus_sdk

T = TypeVar("T")
Json = dict[str, Any]

NOTIFY = ("INACTIVE", "FAILED", "SUCCEEDED")  # Globus writes a mail to the flow's user
DESCRIPTION = "Scores archived electron-microscopy tiles for focus, beside the data. https://pypi.org/project/mhfd"


class ScheduleSignInError(ScheduleError, SignInNeededError):
    """Somebody has to sign in, or to consent."""

    exit_code = ExitCode.SIGN_IN


@dataclass
class GlobusScheduler:
    """See `Scheduler`.

    Attributes
    ----------
    copy : (source, destination), each "COLLECTION:/folder": a transfer before the scoring
    consent_to : mapped collections of that transfer that want a consent of their own
    """

    config_file: Path | None = None
    copy: tuple[str, str] | None = None
    consent_to: tuple[str, ...] = ()
    now: Callable[[], datetime] = field(default=datetime.now, repr=False)

    def install(self, schedule: Schedule, *, dry_run: bool) -> Iterator[str]:
        title = title_of(schedule.name)
        given = flow_input(schedule, load_config(self.config_file))
        if self.copy is not None:
            given = with_transfer(given, *self.copy)
        with self._service() as service:
            flow = service.flow()
            if flow is None or not _holds(flow, {"definition": definition(), "input_schema": input_schema()}):
                yield f"{'would ' if dry_run else ''}{'make' if flow is None else 'change'} the flow {STEM}"
                flow = flow if dry_run else service.keep_flow(flow)
            timers = service.timers(title)
            kept = [each for each in timers if flow and self._is(each, schedule, flow["id"], _body(title, given))]
            if dry_run:
                yield f"{title} is up to date" if kept else f"would set the timer {title}, {schedule.when}"
                yield json_text(given)
                return
            if not kept:
                assert flow is not None
                service.consent(flow["id"], self.consent_to)
                service.create_timer(title, schedule, flow["id"], _body(title, given), self.now())
            for each in (timer for timer in timers if timer not in kept[:1]):
                service.delete_timer(each["job_id"])
        yield f"{title} is up to date: {schedule.when}" if kept else f"{title}: {schedule.when}"

    def show(self, name: str | None) -> Shown:
        title = title_of(name)
        with self._service() as service:
            timers = service.timers(title)
            if not timers:
                return Shown(title, "not installed")
            timer, run = timers[0], service.last_run(title)
        return Shown(
            title,
            "off" if timer.get("status") == "inactive" else "on",
            next_run=timer.get("next_run"),
            last_run=run["start_time"] if run else None,
            last_result=_result(run) if run else None,
        )

    def remove(self, name: str | None, *, dry_run: bool) -> Iterator[str]:
        title = title_of(name)
        with self._service() as service:
            timers = service.timers(title)
            if not timers:
                yield f"{title} is not installed."
            for each in timers:
                if not dry_run:
                    service.delete_timer(each["job_id"])
                yield f"{'would delete' if dry_run else 'Removed:'} the timer {title}"
            if service.all_timers():
                return
            if flow := service.flow():
                if not dry_run:
                    service.delete_flow(flow["id"])
                yield f"{'would delete' if dry_run else 'Removed:'} the flow {STEM}, which no timer runs"

    def _is(self, timer: Json, schedule: Schedule, flow: str, body: Json) -> bool:
        """True if a timer runs this flow with this body at the schedule's times."""
        start, wanted = timer.get("start"), schedule.when.next(self.now()).astimezone()
        if timer.get("status") == "inactive" or timer.get("interval") != schedule.when.interval.total_seconds():
            return False
        if start is None or (wanted - datetime.fromisoformat(start)) % schedule.when.interval:
            return False
        return flow in str(timer.get("callback_url")) and _holds(timer.get("callback_body"), body)

    @contextmanager
    def _service(self) -> Generator[_Service, None, None]:
        try:
            from mhfd_client.service import signin
        except ImportError as error:
            raise ScheduleError(f"this needs globus-sdk ({error}): {install_hint('globus')}") from error
        app = _asked(lambda: signin.sign_in(interactive=somebody_is_there()))
        service = _Service(app)
        try:
            yield service
        finally:
            service.close()


class _Service:
    """The requests to Flows and Timers, as one identity."""

    def __init__(self, app: globus_sdk.GlobusApp) -> None:
        import globus_sdk

        self._app = app
        self._flows = globus_sdk.FlowsClient(app=app)
        self._timers = globus_sdk.TimersClient(app=app)
        self._sign_in()

    def close(self) -> None:
        self._flows.close()
        self._timers.close()
        self._app.close()

    def flow(self) -> Json | None:
        """Our flow, whole; None: there is none yet."""
        found = _asked(lambda: list(self._flows.list_flows(filter_roles="flow_owner", filter_fulltext=STEM)))
        names = [each["id"] for each in found if each["title"] == STEM]
        return _data(lambda: self._flows.get_flow(names[0])) if names else None

    def keep_flow(self, flow: Json | None) -> Json:
        if flow is None:
            make = self._flows.create_flow
            return _data(lambda: make(STEM, definition(), input_schema(), description=DESCRIPTION))
        name, change = flow["id"], self._flows.update_flow
        return _data(lambda: change(name, definition=definition(), input_schema=input_schema()))

    def delete_flow(self, flow: str) -> None:
        _asked(lambda: self._flows.delete_flow(flow))

    def last_run(self, label: str) -> Json | None:
        """The newest run that a timer of this name began."""
        if (flow := self.flow()) is None:
            return None
        order = {"orderby": "start_time DESC"}
        runs: list[Any] = _asked(lambda: list(self._flows.list_runs(filter_flow_id=flow["id"], query_params=order)))
        ours: list[Json] = [each for each in runs if each.get("label") == label]
        return max(ours, key=lambda run: str(run["start_time"]), default=None)

    def consent(self, flow: str, collections: tuple[str, ...]) -> None:
        """Ask, now and not at night, for the consent without which a timer cannot run the flow."""
        from globus_sdk.scopes import GCSCollectionScopes, SpecificFlowScopes, TimersScopes, TransferScopes

        user = SpecificFlowScopes(flow).user
        if collections:
            data_access = [GCSCollectionScopes(each).data_access.with_optional(True) for each in collections]
            user = user.with_dependency(TransferScopes.all.with_optional(True).with_dependencies(data_access))
        self._timers.add_app_scope(TimersScopes.timer.with_dependency(user))
        self._sign_in(anew=True)

    def all_timers(self) -> list[Json]:
        found: list[Json] = _data(self._timers.list_jobs)["jobs"]
        return [each for each in found if str(each.get("name")).startswith(STEM)]

    def timers(self, name: str) -> list[Json]:
        """The timers of a name, whole."""
        names = [each["job_id"] for each in self.all_timers() if each["name"] == name]
        return [self._timer(each) for each in names]

    def create_timer(self, name: str, schedule: Schedule, flow: str, body: Json, now: datetime) -> None:
        from globus_sdk import FlowTimer, RecurringTimerSchedule

        seconds = int(schedule.when.interval.total_seconds())
        times = RecurringTimerSchedule(seconds, start=schedule.when.next(now).astimezone())
        _asked(lambda: self._timers.create_timer(FlowTimer(flow_id=flow, name=name, schedule=times, body=body)))

    def delete_timer(self, timer: str) -> None:
        _asked(lambda: self._timers.delete_job(timer))

    def _timer(self, timer: str) -> Json:
        return _data(lambda: self._timers.get_job(timer))

    def _sign_in(self, *, anew: bool = False) -> None:
        from mhfd_client.service import signin

        with signin.asking(somebody_is_there()):
            _asked(lambda: self._app.login(force=anew))


def _body(label: str, given: Json) -> Json:
    """What the timer sends to the flow each time."""
    policy = {"status": list(NOTIFY)}
    return {"body": {"input": given}, "label": label, "tags": ["mhfd"], "activity_notification_policy": policy}


def _holds(found: Any, wanted: Any) -> bool:
    """True if all that we sent is there; a service may add keys of its own."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(key in found and _holds(found[key], wanted[key]) for key in wanted)
    return bool(found == wanted)


def _result(run: Json) -> str:
    status = str(run["status"])
    details = (run.get("details") or {}).get("details") or {}
    if status == "FAILED" and "error" in details:
        return f"failed: {details['error']}: {details.get('cause')}"
    return {"SUCCEEDED": "succeeded", "ACTIVE": "running", "ENDED": "cancelled"}.get(status, status.lower())


def _data(request: Callable[[], Any]) -> Json:
    """The answer to a request, as plain data."""
    found: Json = _asked(lambda: request().data)
    return found


def _asked(request: Callable[[], T]) -> T:
    """Make a request, with errors that say what to do."""
    from globus_sdk import GlobusAPIError, GlobusError

    try:
        return request()
    except GlobusAPIError as error:
        if error.http_status in (401, 403):
            raise ScheduleSignInError(f"Globus wants you to sign in, or to consent ({error.message})") from error
        if error.http_status < 500 and error.http_status != 429:
            raise ScheduleError(f"Globus refuses this ({error.code}: {error.message})") from error
        raise ScheduleError(f"Globus cannot do this now ({error.message}); try again later") from error
    except GlobusError as error:
        raise ScheduleError(f"Globus cannot be reached ({error}); try again later") from error
