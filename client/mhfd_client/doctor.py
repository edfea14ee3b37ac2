"""Check that scoring works on this machine, or on an endpoint; each check that fails says what to do."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import socket
import sys
import time
import urllib.request
from collections.abc import Collection, Generator, Iterator
from concurrent.futures import TimeoutError as FutureTimeoutError
from concurrent.futures import wait
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from mhfd import registry
from mhfd._version import __version__
from mhfd.contract import MhfdError
from mhfd.extras import install_hint
from mhfd.text import counted
from mhfd_client import formats
from mhfd_client.compute.first_answer import LOOK_S, NoWorkersError, first_answer
from mhfd_client.compute.opening import open_compute
from mhfd_client.compute.protocol import Compute, Json
from mhfd_client.config import Config, ConfigError, GlobusEndpoint
from mhfd_client.service.attended import SignInNeededError
from mhfd_client.transfer.opening import open_transfer
from mhfd_client.transfer.protocol import TransferError
from mhfd_client.transfer.trial import Trial

Level = Literal["PASS", "WARN", "FAIL"]

PYTHONS = ((3, 10), (3, 14))
"""First and last minor version of Python that mhfd and Globus Compute's endpoint run on."""

SERVICE = "https://compute.api.globus.org"
RESULTS_HOST = "compute.amqps.globus.org"

CONNECT_S = 5.0
TASKS_PER_GPU = 4
"""`describe` tasks for each GPU, sent at once: almost surely enough for each worker to get one."""


REPORT = "please report it, with the output of `mhfd doctor --json`"
REMEDIES = {
    "bad_params": "install the same version of mhfd on both sides",
    "no_backend": "set MHFD_BACKEND to one that works there, such as numpy, or unset it",
    "cannot_write": "set MHFD_RESULT_DIR to a folder that the worker's user may write to, with room",
    "not_installed": f"install mhfd {__version__} in the Python that runs the workers, then restart the endpoint",
}
"""Code of an error answer -> what to do."""


@dataclass(frozen=True)
class Check:
    """One check and its outcome.

    Attributes
    ----------
    name : what was checked
    level : "WARN" is worth knowing, "FAIL" keeps tiles from being scored
    found : what was seen
    remedy : what to do about it; "" for "PASS"
    """

    name: str
    level: Level
    found: str
    remedy: str = ""

    def to_dict(self) -> Json:
        return asdict(self)


def examine(config: Config, name: str = "local", *, deadline_s: float = 300.0) -> Iterator[Check]:
    """Check this machine, then an endpoint; stop at a failure that makes the rest pointless.

    Parameters
    ----------
    name : an entry of the configuration, or a UUID; "local" for this machine alone
    deadline_s : for each answer of the endpoint; the first may have to wait for workers to start
    """
    yield from _here(probe=name == "local")
    if name != "local":
        yield from _there(config, name, deadline_s)


# --- This machine -------------------------------------------------------------------------------------------------


def _here(*, probe: bool) -> Iterator[Check]:
    found, (first, last) = platform.python_version(), PYTHONS
    if first <= sys.version_info[:2] <= last:
        yield Check("Python", "PASS", found)
    else:
        yield Check("Python", "WARN", found, f"use Python {first[0]}.{first[1]} to {last[0]}.{last[1]}")
    yield Check("mhfd", "PASS", __version__)
    for what, (told, problems) in (("readers", formats.readers()), ("layouts", formats.layouts())):
        yield from (Check(what, "WARN", found, remedy) for found, remedy in problems)
        yield Check(what, "PASS", told)
    if not probe:
        return
    from mhfd import worker

    about = worker.describe()
    for problem in about["problems"]:
        yield Check("this machine", "WARN", problem, _remedy(problem))
    backend, device = about["env"]["backend"], about["env"]["device"]
    if backend == "numpy":
        yield Check("backend", "WARN", "numpy: correct but slow", install_hint("cpu"))
    else:
        yield Check("backend", "PASS", f"{backend} on {device}")
    yield _probe(worker.warmup())
    scratch = about["scratch"] or {"path": "-", "free_bytes": 0}
    free = f"{scratch['free_bytes'] / 1e9:.1f} GB free at {scratch['path']}"
    yield (
        Check("scratch space", "PASS", free)
        if scratch["free_bytes"] > 1e9
        else Check("scratch space", "WARN", free, "make room, or set MHFD_RESULT_DIR to a folder with more")
    )


def _remedy(problem: str) -> str:
    """The remedy for a problem that `describe` found: "what was asked: error", or a sentence that names a variable."""
    what = problem.partition(":")[0]
    if what in ("gpus", "gpu driver", "device_uuid") or problem.startswith("a GPU driver"):
        return "run nvidia-smi as the user of this process, and mend what it complains of; until then processors score"
    if what == "backend":
        return REMEDIES["no_backend"]
    if what == "scratch":
        return REMEDIES["cannot_write"]
    if variable := re.search(r"MHFD_[A-Z_]+", problem):
        return f"correct {variable[0]} where the process is started, then start it again"
    return REPORT


def _probe(answer: Json) -> Check:
    if error := answer.get("error"):
        return Check("probe tile", "FAIL", error["message"], REMEDIES.get(error["code"], REPORT))
    found = f"{answer['features']} of {answer['expected']} features, {answer['warm_ms']:.0f} ms"
    if not answer["ok"]:
        return Check("probe tile", "FAIL", found, "the kernel miscounts on this device: please report it, with --json")
    return Check("probe tile", "PASS", f"{found} (the first, with compiling: {answer['first_ms'] / 1e3:.1f} s)")


# --- An endpoint --------------------------------------------------------------------------------------------------


def _there(config: Config, name: str, deadline_s: float) -> Iterator[Check]:
    try:
        entry = config.endpoint(name)
    except ConfigError as error:
        yield Check("configuration", "FAIL", str(error), "correct the file, and check it with `mhfd config validate`")
        return
    if not isinstance(entry, GlobusEndpoint):
        return
    yield _functions(entry)
    if (source := _registered(config, entry)) is not None:
        yield source
    sdk = _version("globus-compute-sdk")
    if sdk is None:
        yield Check("globus-compute-sdk", "FAIL", "not installed", install_hint("globus"))
        return
    yield Check("globus-compute-sdk", "PASS", sdk)
    yield from _network(entry)
    if (sign_in := _sign_in(name)).level == "FAIL":
        yield sign_in
        return
    limits = entry.limits.model_copy(update={"status_every_s": LOOK_S})
    compute = open_compute(name, entry.model_copy(update={"limits": limits}))
    try:
        works = yield from _answers(compute, sign_in, deadline_s)
        yield from _transfer(config, name, entry, compute if works else None, deadline_s)
    finally:
        compute.close()


def _functions(entry: GlobusEndpoint) -> Check:
    missing = [each for each in registry.FUNCTIONS if each not in entry.functions]
    if missing:
        remedy = "run `mhfd register`, and name its functions.json as functions_file in the configuration"
        return Check("functions", "WARN", f"no UUID for {', '.join(missing)}", remedy)
    return Check("functions", "PASS", counted(len(entry.functions), "UUID"))


def _registered(config: Config, entry: GlobusEndpoint) -> Check | None:
    """Compare the registered functions with this version's; None without a functions.json."""
    file: Path | None = entry.functions_file or config.functions_file
    if file is None:
        return None
    try:
        records = {record.name: record.sha256 for record in registry.load(file)}
    except registry.RegistryError as error:
        remedy = "restore it from a backup, or register again and give the administrator the new allowed_functions"
        return Check("functions.json", "FAIL", str(error), remedy)
    changed = [each for each, known in records.items() if each in registry.FUNCTIONS and known != _sha256(each)]
    if changed:
        remedy = "run `mhfd register`, and give the endpoint's administrator the new allowed_functions"
        return Check("functions.json", "WARN", f"other sources than this mhfd's: {', '.join(changed)}", remedy)
    return Check("functions.json", "PASS", str(file))


def _sha256(function: str) -> str:
    return registry.sha256(registry.source_of(function))


def _network(entry: GlobusEndpoint) -> Iterator[Check]:
    """Check hosts and ports, but not outside production nor behind a proxy: the service's answers show those."""
    if os.environ.get("GLOBUS_SDK_ENVIRONMENT", "production") != "production":
        yield Check("network", "PASS", f"environment {os.environ['GLOBUS_SDK_ENVIRONMENT']}: not checked")
        return
    host = urlsplit(SERVICE).hostname or ""
    if "https" in urllib.request.getproxies():
        yield Check("service", "PASS", "through the proxy")
    else:
        yield _port("service", host, 443, "allow this machine to connect to it, or set https_proxy")
    yield _port("result stream", RESULTS_HOST, entry.amqp_port, "allow it, or try amqp_port = 443 (or 5671)")


def _port(name: str, host: str, port: int, remedy: str) -> Check:
    try:
        with socket.create_connection((host, port), timeout=CONNECT_S):
            return Check(name, "PASS", f"{host}:{port}")
    except OSError as error:
        return Check(name, "FAIL", f"{host}:{port} is out of reach ({error})", remedy)


def _sign_in(name: str) -> Check:
    """Check for a sign-in, without asking for one."""
    if os.environ.get("GLOBUS_COMPUTE_CLIENT_ID"):
        if os.environ.get("GLOBUS_COMPUTE_CLIENT_SECRET"):
            return Check("sign-in", "PASS", "client credentials from the environment")
        return Check("sign-in", "FAIL", "GLOBUS_COMPUTE_CLIENT_ID without a secret", "set GLOBUS_COMPUTE_CLIENT_SECRET")
    from globus_compute_sdk.sdk.auth.globus_app import get_globus_app

    if get_globus_app().login_required():
        return Check("sign-in", "FAIL", "nobody is signed in here", f"run `mhfd warmup --endpoint {name}` to sign in")
    return Check("sign-in", "PASS", "signed in")


def _answers(compute: Compute, sign_in: Check, deadline_s: float) -> Generator[Check, None, bool]:
    """Check what the service and a worker say; True if a worker answers."""
    try:
        compute.connect()
        yield sign_in
        status = compute.status().result(deadline_s)
    except SignInNeededError as error:
        yield Check("sign-in", "FAIL", str(error), f"run `mhfd warmup --endpoint {compute.name}` to sign in")
        return False
    except (MhfdError, FutureTimeoutError) as error:
        remedy = "check the network, https_proxy and the endpoint's uuid in the configuration, then try again"
        yield Check("service", "FAIL", _sentence(error), remedy)
        return False
    if not status.online:
        remedy = "ask its administrator to start it; tasks sent meanwhile wait for it"
        yield Check("endpoint", "FAIL", str(status), remedy)
        return False
    yield Check("endpoint", "PASS", str(status))
    try:
        about = first_answer(compute, "describe", deadline_s)
    except NoWorkersError as error:
        yield Check("workers", "WARN" if error.queued else "FAIL", str(error), error.remedy)
        return False
    except (MhfdError, FutureTimeoutError) as error:
        yield Check("worker", "FAIL", _sentence(error), "look at the endpoint's logs; see also deploy/README.md")
        return False
    if refused := about.get("error"):
        yield Check("worker", "FAIL", refused["message"], f"on the endpoint: {REMEDIES.get(refused['code'], REPORT)}")
        return False
    yield from _versions(about)
    yield from _roots(about)
    yield from _gpus(compute, about, deadline_s)
    try:
        yield _probe(compute.submit("warmup", {}).result(deadline_s))
    except (MhfdError, FutureTimeoutError) as error:
        yield Check("probe tile", "FAIL", _sentence(error), "look at the endpoint's logs")
    return True


def _transfer(
    config: Config, name: str, entry: GlobusEndpoint, compute: Compute | None, deadline_s: float
) -> Iterator[Check]:
    """Send a byte the way of the tiles, if that is Globus Transfer, have a worker look at it, and remove it."""
    folders = (each.folder for each in config.profiles.values() if each.endpoint == name and each.folder)
    folder = next(folders, None) or Path.home()
    try:
        if open_transfer(entry, root=folder, run="doctor").name != "globus":
            return
        with closing(Trial(entry, folder, deadline_s)) as trial:
            trial.connect()
            yield Check("collections", "PASS", "both can be used")
            begun_s = time.monotonic()
            place = trial.there()
            yield Check("transfer", "PASS", f"one byte arrived after {time.monotonic() - begun_s:.1f} s")
            if compute is not None:
                yield _seen(compute, place, deadline_s)
            trial.remove()
            yield Check("removal of copies", "PASS", "it was removed there")
    except TransferError as error:
        sign_in = isinstance(error, SignInNeededError)
        remedy = (
            "run the command named here" if sign_in else "correct the endpoint's transfer table; see docs/transfer.md"
        )
        yield Check("transfer", "FAIL", _sentence(error), remedy)
    except OSError as error:
        remedy = "set bundle_folder in the endpoint's transfer table to a folder that you may write to"
        yield Check("transfer", "FAIL", f"no file to send can be written ({error})", remedy)


def _seen(compute: Compute, place: Json, deadline_s: float) -> Check:
    """Whether a worker finds what was transferred: a byte is no image, but it is not a file that cannot be read."""
    try:
        answer = compute.submit("score_paths", {"paths": [place], "params": None}).result(deadline_s)
        (row,) = answer["rows"]
    except (MhfdError, TimeoutError, KeyError, ValueError) as error:
        return Check("worker reads copies", "WARN", _sentence(error), "look at the endpoint's logs")
    code, message = row["error"]["code"], row["error"]["message"]
    if code == "not_an_image":
        return Check("worker reads copies", "PASS", "it found the byte")
    remedy = "have its administrator add the collection to GCS_LOCAL_MAPS, or set endpoint_root; see docs/transfer.md"
    return Check("worker reads copies", "FAIL", f"{code}: {message}", remedy)


def _versions(about: Json) -> Iterator[Check]:
    here = {
        "mhfd": __version__,
        "Python": platform.python_version(),
        "dill": _version("dill"),
        "globus-compute-sdk": _version("globus-compute-sdk"),
    }
    there = {
        "mhfd": about["mhfd"],
        "Python": about["python"],
        "dill": about["dill"],
        "globus-compute-sdk": about["globus_compute_sdk"],
    }
    remedies = {
        "mhfd": "install the same version on both sides, so that scores can be compared",
        "Python": "mhfd works anyway; functions sent by value with dill may not, so prefer the same minor version",
        "dill": "mhfd works anyway; functions sent by value may not",
        "globus-compute-sdk": "update the older side",
    }
    for name, ours in here.items():
        theirs = there[name]
        same = str(ours).split(".")[:2] == str(theirs).split(".")[:2] if name == "Python" else ours == theirs
        found = f"{ours} here, {theirs} there"
        yield (
            Check(f"{name}, both sides", "PASS", found)
            if same
            else Check(f"{name}, both sides", "WARN", found, remedies[name])
        )
    yield Check("worker's backend", "PASS", f"{about['env']['backend']} on {about['env']['device']} of {about['host']}")
    for problem in about["problems"]:
        yield Check("worker", "WARN", problem, f"on the endpoint: {_remedy(problem)}")


def _roots(about: Json) -> Iterator[Check]:
    """Check that tasks may not reach every file of the endpoint's account."""
    known = about.get("roots") or {}  # a worker of 0.1.0 limits nothing
    for verb, variable in (("read", "MHFD_ROOTS"), ("write", "MHFD_OUT_ROOTS")):
        name = f"folders that tasks may {verb}"
        folders = known.get(verb)
        if folders is None:
            remedy = f"if others send tasks there, list folders in {variable} in the endpoint's user_environment.yaml"
            yield Check(name, "WARN", f"all that the endpoint's account may {verb}", remedy)
        else:
            yield Check(name, "PASS", ", ".join(folders) or "none")


def _gpus(compute: Compute, about: Json, deadline_s: float) -> Iterator[Check]:
    """Check that each worker has its own GPU."""
    if not about["gpus"]:
        yield Check("GPUs", "PASS", "none: the endpoint scores on its processors")
        return
    replies = [compute.submit("describe", {}) for _ in range(TASKS_PER_GPU * len(about["gpus"]))]
    done, late = wait(replies, timeout=deadline_s)
    answers = [about, *(reply.result() for reply in done if reply.exception() is None)]
    owners: dict[str, set[tuple[Any, Any]]] = {}
    for answer in answers:
        env = answer.get("env") or {}
        owners.setdefault(str(env.get("device_uuid")), set()).add((answer.get("host"), answer.get("pid")))
    shared = [uuid for uuid, workers in owners.items() if len(workers) > 1]
    workers = counted(sum(map(len, owners.values())), "worker")
    seen = f"{workers} on {counted(len(owners), 'GPU')}, of {len(about['gpus'])} a node"
    if shared:
        remedy = "set available_accelerators and max_workers_per_node to the number of GPUs in the endpoint's template"
        yield Check("GPUs", "FAIL", f"{seen}; several workers share {', '.join(shared)}", remedy)
    elif late or None in owners:
        missing = counted(len(late), "answer is", "answers are")
        yield Check("GPUs", "WARN", f"{seen}; {missing} missing", "look at the endpoint's logs")
    else:
        yield Check("GPUs", "PASS", seen)


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _sentence(error: BaseException) -> str:
    return str(error) or f"no answer ({type(error).__name__})"


def worst(checks: Collection[Check]) -> Level:
    levels = {check.level for check in checks}
    return "FAIL" if "FAIL" in levels else "WARN" if "WARN" in levels else "PASS"
