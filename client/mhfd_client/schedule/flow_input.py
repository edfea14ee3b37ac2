"""What the flow is given: the endpoint's entry of the configuration and a run's folder as the flow's input."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import UUID

from mhfd_client.config import Config, GlobusEndpoint
from mhfd_client.schedule.protocol import Schedule, ScheduleRefusedError

FUNCTIONS = ("plan_run", "next_wave", "score_shard", "finish_run")


@cache
def definition() -> dict[str, Any]:
    """The flow, in the language of Globus Flows."""
    return _shipped("definition")


@cache
def input_schema() -> dict[str, Any]:
    """JSON Schema of what a run of the flow is given."""
    return _shipped("schema")


def flow_input(schedule: Schedule, config: Config) -> dict[str, Any]:
    """The input for a schedule, as `input_schema` wants it.

    Raises
    ------
    ScheduleRefusedError
        The endpoint is this machine or has no such functions, or it cannot read the folder.
    ConfigError
        The configuration has no such endpoint.
    """
    if schedule.endpoint is None or "," in schedule.endpoint:
        raise ScheduleRefusedError("a flow runs on one endpoint: name it with --endpoint")
    if len(schedule.runs) != 1:
        raise ScheduleRefusedError("a flow scores one run: give each a schedule of its own, with --name")
    entry = config.endpoint(schedule.endpoint)
    if not isinstance(entry, GlobusEndpoint):
        raise ScheduleRefusedError("Globus cannot reach this machine's own workers: name an endpoint with --endpoint")
    if lacking := [each for each in FUNCTIONS if each not in entry.functions]:
        raise ScheduleRefusedError(
            f"the endpoint '{schedule.endpoint}' lacks the functions {', '.join(lacking)}: run `mhfd register`, and "
            "put the block that it prints into the endpoint's config.yaml"
        )
    place = _place(schedule.runs[0], entry, schedule.endpoint)
    options: dict[str, Any] = {"changed_only": True}
    if "collection" in place:
        options["collection"] = place["collection"]
    return {
        "endpoint_id": str(entry.uuid),
        "user_endpoint_config": dict(entry.user_endpoint_config),
        "functions": {each: str(entry.functions[each]) for each in FUNCTIONS},
        "folder": place["path"],
        "pattern": None,
        "params": None,
        "options": options,
        "wave": {},
        "reference": None,
        "transfer": None,
    }


def with_transfer(given: dict[str, Any], source: str, destination: str) -> dict[str, Any]:
    """The input with a transfer before the rest: "COLLECTION:/folder" to "COLLECTION:/folder".

    Raises
    ------
    ScheduleRefusedError
        One of the two is written otherwise.
    """
    (source_endpoint, source_path), (destination_endpoint, destination_path) = _split(source), _split(destination)
    item = {"source_path": source_path, "destination_path": destination_path, "recursive": True}
    about = {"source_endpoint": source_endpoint, "destination_endpoint": destination_endpoint, "items": [item]}
    return {**given, "transfer": about}


def _split(place: str) -> tuple[str, str]:
    collection, colon, path = place.partition(":")
    try:
        name = str(UUID(collection))
    except ValueError:
        name = ""
    if not (name and colon and path.startswith("/")):
        raise ScheduleRefusedError(f"'{place}' must be COLLECTION:/folder, the collection by its UUID")
    return name, path


def _place(run: str, entry: GlobusEndpoint, name: str) -> dict[str, Any]:
    """The folder as the endpoint's workers find it."""
    for mapping in entry.data:
        if (place := mapping.at_endpoint(run, None, "")) is not None:
            return place
    if Path(run).exists() or not PurePosixPath(run).is_absolute():
        raise ScheduleRefusedError(
            f"the endpoint '{name}' is not known to read {run}: give the folder's path there, or say in its data table "
            "which folder of this machine is which there"
        )
    return {"path": run}


def _shipped(name: str) -> dict[str, Any]:
    text = files("mhfd_client.schedule").joinpath("flow").joinpath(f"{name}.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found
