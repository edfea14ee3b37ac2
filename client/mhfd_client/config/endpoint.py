"""Where tiles are scored, and how they get there."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, Field, PositiveFloat, PositiveInt, model_validator

from mhfd_client.config.base import Frozen, HerePath, Json, Seconds

CODECS = Literal["auto", "raw", "zlib", "delta-zlib", "delta-zstd", "jpegls"]
METHODS = Literal["auto", "shared", "inline", "globus"]

_SECRET = re.compile(r"secret|passw|token|credential|api_?key", re.IGNORECASE)
_PASSWORD_IN_URL = re.compile(r"://[^/@\s]*:[^/@\s]*@")


class Limits(Frozen):
    """Limits on the work sent to one endpoint; the service's own limits are in Globus's documentation.

    Attributes
    ----------
    max_task_bytes : size of one task as sent; the service refuses requests above 10 MB
    in_flight_s : while many tiles wait, as many are sent as the endpoint scores in this time, travel included
    max_tiles_per_task : most tiles in one task; all are scored again if its worker dies
    tasks_in_flight : most tasks sent and not yet answered
    requests_per_10_s : from this process to the service, whose limit is 20
    inline_below_bytes : files up to this size travel in the task even if the endpoint can read them
    deadline_s : ask for a task's result after this time, or five times the 99th percentile if that is longer
    first_deadline_s : the same before the first result: workers may have to start
    status_after_s : without an answer for this long, look up the endpoint's status
    status_every_s : shortest time between look-ups
    patience_s : how long the endpoint or the service may be unreachable before waiting tiles are given up
    queue_patience_s : how long tiles may wait for workers, as while a job waits in a batch queue, before they fail
    """

    max_task_bytes: PositiveInt = 9_500_000
    in_flight_s: Seconds = 3.0
    max_tiles_per_task: PositiveInt = 1000
    tasks_in_flight: PositiveInt = 512
    requests_per_10_s: PositiveInt = 18
    inline_below_bytes: int = Field(default=65_536, ge=0)
    deadline_s: PositiveFloat = 120.0
    first_deadline_s: PositiveFloat = 600.0
    status_after_s: PositiveFloat = 10.0
    status_every_s: PositiveFloat = 60.0
    patience_s: PositiveFloat = 3600.0
    queue_patience_s: PositiveFloat = 7 * 86_400.0


class DataMapping(Frozen):
    """A folder that this machine and the endpoint share, with its path on each.

    Attributes
    ----------
    local_root : path of the folder on this machine; leave it out if only the endpoint has it: then files below `root`
        go by their path there
    root : path of the same folder on the endpoint or, with a collection, in the collection
    collection : UUID of a mapped collection; the endpoint knows where it is mounted (GCS_LOCAL_MAPS)
    """

    local_root: HerePath | None = Field(default=None, examples=["/data/em"])
    root: str = Field(default="", examples=["/scratch/em"])
    collection: UUID | None = Field(default=None, examples=["6528bad6-cefc-4aa8-8dde-52b3b5ad4c5c"])

    def at_endpoint(self, file: str, page: int | None, name: str) -> Json | None:
        """The file as `score_paths` takes it; None if it lies outside the folder."""
        if self.local_root is None:
            inside = PurePosixPath(file)
            if self.collection is not None or not self.root or not inside.is_relative_to(self.root):
                return None
            where = inside
        else:
            try:
                relative = Path(os.path.abspath(file)).relative_to(os.path.abspath(self.local_root))  # noqa: PTH100
            except ValueError:
                return None
            where = PurePosixPath(self.root, relative.as_posix())
        if self.collection is not None:
            place: Json = {"collection": str(self.collection), "path": str(where).lstrip("/")}
            return {**place, "page": page, "name": name}
        return {"path": str(where), "page": page, "name": name}


def _absolute(path: str) -> str:
    if not path.startswith("/"):
        raise ValueError(f"'{path}' must begin with a slash, like /scratch/em, or /~/em for a collection's home")
    return path


EndpointPath = Annotated[str, AfterValidator(_absolute)]


class TransferEntry(Frozen):
    """How tiles get to the endpoint.

    Attributes
    ----------
    method : "shared": the endpoint reads the same disk (`data`); "inline": in the task; "globus": by Globus Transfer; "auto": the first of shared, globus and inline that is set up
    source_collection : UUID of the collection on this machine, such as Globus Connect Personal
    source_root : path of `local_root` in that collection; by default as in Globus Connect Personal
    local_root : path of `source_root` on this machine
    destination_collection : UUID of the collection that the endpoint's workers can read
    destination_root : the folder in it that receives the tiles
    endpoint_root : path of `destination_root` on the workers; by default the endpoint knows (GCS_LOCAL_MAPS)
    keep : keep the copies there after their results are stored
    deadline_s : cancel a transfer that takes longer, and send again what did not arrive
    max_files : in one transfer
    max_bytes : in one transfer
    active_tasks : transfers at a time; Globus allows each user three
    bundle_below_bytes : files up to this size go together in a tar; 0: each alone, as mhfd before 0.4 at the endpoint needs
    bundle_from : only where at least so many such files wait
    bundle_folder : folder for the tars, below `local_root`; by default .mhfd-bundles beside the folder of the run
    bundle_disk_bytes : most that the tars take up there
    """  # noqa: E501

    method: METHODS = "auto"
    source_collection: UUID | None = Field(default=None, examples=["1d5a6ab4-1b1c-4c1e-9d9c-5d1b3f6e6b0a"])
    source_root: EndpointPath | None = Field(default=None, examples=["/D/em"])
    local_root: HerePath | None = Field(default=None, examples=["D:\\em"])
    destination_collection: UUID | None = Field(default=None, examples=["6528bad6-cefc-4aa8-8dde-52b3b5ad4c5c"])
    destination_root: EndpointPath = "/~/mhfd/"
    endpoint_root: EndpointPath | None = Field(default=None, examples=["/home/em/mhfd"])
    keep: bool = False
    deadline_s: Seconds = 3600.0
    max_files: PositiveInt = 5000
    max_bytes: PositiveInt = 50_000_000_000
    active_tasks: int = Field(default=2, ge=1, le=3)
    bundle_below_bytes: int = Field(default=4_000_000, ge=0)
    bundle_from: PositiveInt = 50
    bundle_folder: HerePath | None = Field(default=None, examples=["D:\\em\\.mhfd-bundles"])
    bundle_disk_bytes: PositiveInt = 4_000_000_000

    @model_validator(mode="after")
    def _both_collections(self) -> TransferEntry:
        given = [name for name in ("source_collection", "destination_collection") if getattr(self, name)]
        if len(given) < 2 and (self.method == "globus" or (given and self.method == "auto")):
            raise ValueError(
                "Globus Transfer needs both source_collection and destination_collection: give both UUIDs "
                '(app.globus.org/collections), or method = "inline"'
            )
        return self


def _no_secrets(given: Json) -> Json:
    for key, value in given.items():
        if _SECRET.search(key):
            raise ValueError(f"'{key}' looks like a secret, which has no place in this file; set it in the environment")
        _no_secret_in(key, value)
    return given


def _no_secret_in(key: str, value: Any) -> None:
    if isinstance(value, dict):
        _no_secrets(value)
    elif isinstance(value, list):
        for each in value:
            _no_secret_in(key, each)
    elif isinstance(value, str) and _PASSWORD_IN_URL.search(value):
        raise ValueError(f"'{key}' holds a password, which has no place in this file; set it in the environment")


class LocalLimits(Limits):
    """Limits for this machine, where sending a task costs nothing and a large tile may take long on the CPU."""

    max_task_bytes: PositiveInt = 2**31
    in_flight_s: Seconds = 1.0
    deadline_s: PositiveFloat = 4 * 3600.0
    first_deadline_s: PositiveFloat = 4 * 3600.0


class LocalEndpoint(Frozen):
    """This machine: one process per core or GPU.

    Attributes
    ----------
    workers : processes; by default one per GPU, else one per core
    limits : on the work sent to it
    """

    workers: PositiveInt | None = Field(default=None, examples=[4])
    limits: LocalLimits = LocalLimits()


class GlobusEndpoint(Frozen):
    """A Globus Compute endpoint.

    Attributes
    ----------
    uuid : the endpoint's UUID
    functions : name of each registered function -> its UUID
    functions_file : instead, functions.json as `mhfd register` writes it
    user_endpoint_config : options of the endpoint's template (account, queue, ...), passed on unchanged
    data : folders that the endpoint can read
    transfer : how tiles get there
    limits : on the work sent to it
    codec : how pixels are packed into a task; "auto" compresses when one task cannot hold them
    low_latency : look for results every few milliseconds, not every half second
    amqp_port : port of the encrypted result stream; 443 passes nearly every firewall
    serializers : import paths, for results; JSON unless the endpoint's administrators say otherwise
    fallback : "local" scores here while the endpoint is offline, "none" waits
    """

    uuid: UUID
    functions: dict[str, UUID] = Field(default={}, examples=[{"score_inline": "c407ae80-b31f-447a-9fa6-124098492057"}])
    functions_file: HerePath | None = Field(default=None, examples=["functions.json"])
    user_endpoint_config: Annotated[Json, AfterValidator(_no_secrets)] = Field(
        default={}, examples=[{"account": "m1234"}]
    )
    data: tuple[DataMapping, ...] = ()
    transfer: TransferEntry | None = None
    limits: Limits = Limits()
    codec: CODECS = "auto"
    low_latency: bool = True
    amqp_port: PositiveInt = 443
    serializers: tuple[str, ...] = ("globus_compute_sdk.serialize.JSONData",)
    fallback: Literal["local", "none"] = "none"
