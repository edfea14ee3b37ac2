"""Each endpoint folder is rendered and loaded by the endpoint's own tool: good options accepted, bad ones refused."""

from __future__ import annotations

import json
import logging
import os
import re
import shlex
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from needs import give_up

FOLDERS = Path(__file__).parents[2] / "endpoint_configs"
NAMES = ("cpu", "dgx-a100", "pbs", "slurm", "workstation")
CLUSTERS = {"pbs": "queue", "slurm": "qos"}
WORDS = {"pbs": ("account", "queue"), "slurm": ("account", "partition", "qos", "constraint", "reservation")}
NUMBERS = {"pbs": ("nodes", "jobs"), "slurm": ("nodes", "jobs", "gpus_per_node", "cpus_per_task")}
MANY_USERS = ("dgx-a100", *CLUSTERS)
OPTIONS = sorted(FOLDERS.glob("*/options/*.json"))
HOSTILE = (
    "a\n", "a b", "a;b", "a$(b)", "a`b`", "a'b", 'a"b', "a\\b", "-a", "#a", "a\r", "a\u2028", "\u00e9", "", "a:", "a/b",
    "{{ 7 * 7 }}", '"\nengine: {type: ThreadPoolEngine}\n"', "a\n#SBATCH --uid=0", "a,b", "a&b", "a|b", "a>b", "a*",
)  # fmt: skip
FUNCTION = "5e7ad2a4-7a4c-4c0e-8a1c-3f6b1a2f0c11"

Json = dict[str, Any]
Render = Callable[..., str]


def ids(path: Path) -> str:
    return f"{path.parents[1].name}-{path.stem}"


@pytest.fixture(autouse=True)
def loggers_go_on() -> Iterator[None]:
    """The endpoint's command line sets up logging for its own process, and silences all existing loggers."""
    yield
    for logger in logging.Logger.manager.loggerDict.values():
        if isinstance(logger, logging.Logger):
            logger.disabled = False


@pytest.fixture(scope="module")
def tool() -> str:
    """The endpoint's command line; without it there is nothing to test with."""
    beside = Path(sys.executable).with_name("globus-compute-endpoint")
    found = str(beside) if beside.exists() else shutil.which("globus-compute-endpoint")
    if found is None:
        give_up("globus-compute-endpoint is not installed: python -m pip install globus-compute-endpoint")
    return found


@pytest.fixture(scope="module")
def app(tool: str) -> Any:
    """The same command line, for this process. To be imported it needs a program's path as the first argument."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [tool])
        from globus_compute_endpoint.cli import app
    return app


@pytest.fixture
def machine(tool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No settings of this machine, except an interface that every machine has; returns the new home folder."""
    for name in [name for name in os.environ if name.startswith(("MHFD_", "GLOBUS_", "GCS_", "PARSL_"))]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    monkeypatch.setenv("MHFD_INTERFACE", "lo")
    monkeypatch.setenv("MHFD_LOW_LATENCY", "0")  # it would last in this process
    home = tmp_path / "it's home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GLOBUS_COMPUTE_USER_DIR", str(home / ".globus_compute"))
    return home


@pytest.fixture
def render(app: Any, machine: Path, tmp_path: Path) -> Render:
    """`globus-compute-endpoint render-user-config` in this process; ValueError where the tool refuses."""
    from click.testing import CliRunner

    def run(name: str, options: Json, *, schema: bool = True) -> str:
        file = tmp_path / "options.json"
        file.write_text(json.dumps(options))
        result = CliRunner().invoke(app, arguments(FOLDERS / name, file, schema=schema))
        if result.exit_code:
            raise ValueError(result.output)
        return result.stdout

    return run


@pytest.fixture
def load(render: Render) -> Callable[..., Any]:
    """Options -> the UserEndpointConfig that the endpoint makes of them, its engine and provider built."""
    from globus_compute_endpoint.endpoint.config.config import UserEndpointConfig
    from globus_compute_endpoint.endpoint.config.utils import load_config_yaml

    def run(name: str, options: Json) -> Any:
        text = render(name, options)
        with warnings.catch_warnings():  # Parsl's address_by_interface leaves its socket to the garbage collector
            warnings.simplefilter("ignore", ResourceWarning)
            config = load_config_yaml(text)
        assert isinstance(config, UserEndpointConfig)
        return config

    return run


def arguments(folder: Path, options: Path, *, schema: bool = True) -> list[str]:
    template = ["render-user-config", "-t", str(folder / "user_config_template.yaml.j2"), "-o", str(options)]
    return [*template, "-s", str(folder / "user_config_schema.json")] if schema else template


def least(name: str) -> Json:
    """The shortest options that the folder accepts."""
    return {"account": "m1234_g"} if name in CLUSTERS else {}


def marked(text: str, begin: str, end: str) -> str:
    return re.split(f".*{re.escape(begin)}.*|.*{re.escape(end)}.*", text)[1]


# What the folders hold


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_is_complete(name: str) -> None:
    names = {path.name for path in (FOLDERS / name).iterdir()}
    needed = {
        "config.yaml",
        "options",
        "user_config_schema.json",
        "user_config_template.yaml.j2",
        "user_environment.yaml",
    }
    assert names == needed
    assert {path.stem.split("-")[0] for path in (FOLDERS / name / "options").iterdir()} == {"good", "bad"}


def test_no_other_folder_is_shipped_untested() -> None:
    assert sorted(path.name for path in FOLDERS.iterdir() if path.is_dir()) == sorted(NAMES)


@pytest.mark.parametrize("file", ["config.yaml", "user_environment.yaml"])
def test_what_is_the_same_everywhere_agrees(file: str) -> None:
    """Each folder is complete by itself, so these are copies: change dgx-a100, copy it to the others."""
    assert len({(FOLDERS / name / file).read_text(encoding="utf-8") for name in NAMES}) == 1


def test_the_common_part_of_the_templates_agrees() -> None:
    """As above: the text between the two lines `the same in every folder`."""
    texts = [(FOLDERS / name / "user_config_template.yaml.j2").read_text(encoding="utf-8") for name in NAMES]
    mark = "mhfd, the same in every folder: "
    assert len({marked(text, mark + "begin", mark + "end") for text in texts}) == 1


@pytest.mark.parametrize("name", NAMES)
def test_nothing_secret_and_nothing_from_the_internet(name: str) -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in (FOLDERS / name).glob("*.*"))
    assert not re.search(r"SECRET|token|password|pip install|curl|http(?!s://json-schema\.org)", text)


# The core endpoint


@pytest.fixture(params=NAMES)
def core(request: pytest.FixtureRequest, machine: Path) -> Any:
    from globus_compute_endpoint.endpoint.config.config import CoreEndpointConfig
    from globus_compute_endpoint.endpoint.config.utils import get_config

    config = get_config(FOLDERS / request.param)
    assert isinstance(config, CoreEndpointConfig)
    return config


def permitted(config: Any) -> bool:
    """The answer of the endpoint's own check."""
    from globus_compute_endpoint.endpoint.interchange import EndpointInterchange

    return bool(EndpointInterchange.function_allowed(SimpleNamespace(config=config), FUNCTION))


def test_as_shipped_no_function_may_run(core: Any) -> None:
    assert core.allowed_functions == ()
    assert not permitted(core)


def test_a_registered_function_between_the_lines_may_run(machine: Path) -> None:
    from globus_compute_endpoint.endpoint.config.utils import load_config_yaml

    text = (FOLDERS / "dgx-a100" / "config.yaml").read_text(encoding="utf-8")
    inside = marked(text, "--- allowed functions: begin", "--- allowed functions: end")
    filled = text.replace(inside, f"\nallowed_functions:\n  - {FUNCTION}  # score_inline 0.1.0\n")
    assert permitted(load_config_yaml(filled))


def test_every_key_that_the_shipped_file_suggests_is_one_that_the_endpoint_knows(machine: Path) -> None:
    from globus_compute_endpoint.endpoint.config.utils import load_config_yaml

    text = (FOLDERS / "dgx-a100" / "config.yaml").read_text(encoding="utf-8")
    suggested = re.compile(r"^# (\w+: .*)$", flags=re.MULTILINE)
    config = load_config_yaml(suggested.sub(r"\1", text))
    keys = [each.partition(":")[0] for each in suggested.findall(text)]
    assert {"admins", "authentication_policy", "subscription_id", "high_assurance", "audit_log_path"} < set(keys)
    assert all(getattr(config, key) for key in keys)


@pytest.mark.parametrize("name", NAMES)
def test_the_environment_is_plain_text(name: str, tool: str) -> None:
    yaml = pytest.importorskip("yaml")
    values = yaml.safe_load((FOLDERS / name / "user_environment.yaml").read_text(encoding="utf-8"))
    assert json.loads(values["GCS_LOCAL_MAPS"]) == {}
    for value in values.values():  # nothing that looks like a variable: it would not be expanded
        assert isinstance(value, str) and not re.search(r"[$~%]", value)


# The options


@pytest.mark.parametrize("name", NAMES)
def test_the_schema_is_valid_and_closed(name: str, tool: str) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((FOLDERS / name / "user_config_schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize("file", [path for path in OPTIONS if path.stem.startswith("good")], ids=ids)
def test_good_options_give_an_endpoint(file: Path, load: Callable[..., Any]) -> None:
    load(file.parents[1].name, json.loads(file.read_text(encoding="utf-8")))


@pytest.mark.parametrize("file", [path for path in OPTIONS if path.stem.startswith("bad")], ids=ids)
def test_bad_options_are_refused(file: Path, render: Render) -> None:
    with pytest.raises(ValueError, match=r"ValidationError|reserved word"):
        render(file.parents[1].name, json.loads(file.read_text(encoding="utf-8")))


@pytest.mark.parametrize("name", ["cpu", "slurm"])  # the others in this process: a start takes 0.7 s
def test_the_tool_itself_says_so_with_its_exit_code(name: str, tool: str, machine: Path) -> None:
    options = FOLDERS / name / "options"
    good, bad = min(options.glob("good-*")), min(options.glob("bad-*"))
    run = partial(subprocess.run, capture_output=True, text=True, timeout=60)
    assert run([tool, *arguments(FOLDERS / name, good)]).returncode == 0
    assert run([tool, *arguments(FOLDERS / name, bad)]).returncode != 0


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("name", CLUSTERS)
@pytest.mark.parametrize("schema", [True, False], ids=["", "schema-lost"])
def test_a_hostile_text_is_refused_in_every_option(name: str, text: str, schema: bool, render: Render) -> None:
    for option in WORDS[name]:
        with pytest.raises(ValueError):
            render(name, {**least(name), option: text}, schema=schema)


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("name", CLUSTERS)
def test_a_hostile_walltime_does_no_harm_even_when_the_schema_is_lost(name: str, text: str, render: Render) -> None:
    with pytest.raises(ValueError):
        render(name, {**least(name), "walltime": text})
    for walltime in (text, f"01:00:00{text}", f"{text}01:00:00"):
        try:
            rendered = render(name, {**least(name), "walltime": walltime}, schema=False)
        except ValueError:
            continue
        assert re.fullmatch(
            r' +walltime: "\d\d:\d\d:\d\d"', next(li for li in rendered.splitlines() if "walltime:" in li)
        )


@pytest.mark.parametrize(("name", "option"), [(name, option) for name in CLUSTERS for option in NUMBERS[name]])
def test_a_number_stays_a_number_even_when_the_schema_is_lost(name: str, option: str, render: Render) -> None:
    honest = render(name, {**least(name), option: 0}, schema=False)
    assert render(name, {**least(name), option: "1\n  x: $(touch hacked)"}, schema=False) == honest


def test_a_line_break_at_the_end_does_not_slip_through_the_patterns(tool: str) -> None:
    for name in NAMES:
        schema = json.loads((FOLDERS / name / "user_config_schema.json").read_text(encoding="utf-8"))
        for option in schema["properties"].values():
            assert "pattern" in option or option["type"] != "string"
            if pattern := option.get("pattern"):
                good = next(text for text in ("m1234_g", "01:00:00") if re.search(pattern, text))
                assert not re.search(pattern, good + "\n")


# The engines


@pytest.mark.parametrize("name", NAMES)
def test_only_json_and_source_are_deserialized(name: str, load: Callable[..., Any]) -> None:
    from globus_compute_sdk.serialize import JSONData, PureSourceTextInspect

    assert load(name, least(name)).engine.serde.allowed_deserializer_types == {JSONData, PureSourceTextInspect}


@pytest.mark.parametrize("name", NAMES)
def test_low_latency_is_on_unless_switched_off(name: str, render: Render, monkeypatch: pytest.MonkeyPatch) -> None:
    fast, stock = "mhfd.low_latency.JSONData", "globus_compute_sdk.serialize.JSONData"
    assert stock in render(name, least(name)) and fast not in render(name, least(name))
    monkeypatch.delenv("MHFD_LOW_LATENCY")
    assert fast in render(name, least(name)) and stock not in render(name, least(name))


def test_low_latency_allows_the_same_serializers(load: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from globus_compute_endpoint.endpoint.rabbit_mq import ResultPublisher
    from globus_compute_sdk.serialize import JSONData, PureSourceTextInspect

    from mhfd import low_latency

    monkeypatch.setenv("MHFD_LOW_LATENCY", "1")
    try:
        assert load("dgx-a100", {}).engine.serde.allowed_deserializer_types == {JSONData, PureSourceTextInspect}
        assert ResultPublisher(cred_fn=dict).poll_period_s < 0.1
    finally:
        low_latency.ENDPOINT.restore()


@pytest.mark.parametrize("name", NAMES)
def test_a_pickle_is_refused(name: str, load: Callable[..., Any]) -> None:
    from globus_compute_sdk.errors import DeserializationError
    from globus_compute_sdk.serialize import ComputeSerializer, DillDataBase64

    serde = load(name, least(name)).engine.serde
    with pytest.raises(DeserializationError, match="disabled by current"):
        serde.deserialize(ComputeSerializer(strategy_data=DillDataBase64()).serialize([1]))


@pytest.mark.parametrize("name", NAMES)
def test_a_lost_task_is_given_to_another_worker_and_none_waits_behind_a_slow_one(
    name: str, load: Callable[..., Any]
) -> None:
    engine = load(name, least(name)).engine
    assert (engine.max_retries_on_system_failure, engine.executor.prefetch_capacity) == (2, 0)
    assert engine.encrypted


@pytest.mark.parametrize(("name", "gpus"), [("dgx-a100", 8), ("slurm", 4), ("pbs", 4), ("workstation", 1)])
def test_each_gpu_has_one_worker(name: str, gpus: int, load: Callable[..., Any]) -> None:
    executor = load(name, least(name)).engine.executor
    assert executor.available_accelerators == [str(gpu) for gpu in range(gpus)]
    assert executor.max_workers_per_node == executor.workers_per_node == gpus


@pytest.mark.parametrize(("name", "gpus"), [("dgx-a100", 8), ("slurm", 4), ("pbs", 4), ("workstation", 1)])
def test_several_workers_can_share_a_gpu(
    name: str, gpus: int, load: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there are twice as many names as GPUs, Parsl's worker n takes GPU n // 2."""
    monkeypatch.setenv("MHFD_WORKERS_PER_GPU", "2")
    executor = load(name, least(name)).engine.executor
    assert executor.available_accelerators == [str(number) for number in range(2 * gpus)]
    assert executor.max_workers_per_node == executor.workers_per_node == 2 * gpus


@pytest.mark.parametrize("name", ["dgx-a100", "workstation"])
def test_mig_instances_are_listed_by_uuid(name: str, load: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (f"MIG-{number}b6f8a1c-0d5e-5c1e-9f0a-3c2f6f0d8e11" for number in range(2))
    monkeypatch.setenv("MHFD_GPUS", f"{first}, {second}")
    executor = load(name, {}).engine.executor
    assert (executor.available_accelerators, executor.max_workers_per_node) == ([first, second], 2)
    monkeypatch.setenv("MHFD_WORKERS_PER_GPU", "2")
    assert load(name, {}).engine.executor.available_accelerators == [first, first, second, second]


@pytest.mark.parametrize("name", NAMES)
def test_no_list_of_cores_is_shipped(name: str, load: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """One that does not fit the machine makes workers die and start again without end."""
    assert load(name, least(name)).engine.executor.cpu_affinity == ("block" if name == "cpu" else "none")
    monkeypatch.setenv("MHFD_CPU_AFFINITY", "none")
    assert load(name, least(name)).engine.executor.cpu_affinity == "none"


def test_a_job_with_fewer_cores_than_gpus_still_has_a_worker_a_gpu(load: Callable[..., Any]) -> None:
    assert (
        load("slurm", {**least("slurm"), "cpus_per_task": 1, "gpus_per_node": 8}).engine.executor.workers_per_node == 8
    )


@pytest.mark.parametrize("name", CLUSTERS)
def test_a_busy_scheduler_has_time_and_a_lost_job_is_missed_within_a_minute(
    name: str, load: Callable[..., Any]
) -> None:
    engine = load(name, least(name)).engine
    assert engine.executor.provider.cmd_timeout == 120
    assert (engine.executor.heartbeat_period, engine.executor.heartbeat_threshold) == (20, 60)
    assert engine._job_status_kwargs["strategy"] == "simple"


@pytest.mark.parametrize("name", NAMES)
def test_workers_run_in_an_image_where_one_is_named(
    name: str, load: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load(name, least(name)).engine.container_type is None
    monkeypatch.setenv("MHFD_IMAGE", "/images/it's mhfd.sif")
    engine = load(name, least(name)).engine
    assert (engine.container_type, engine.container_uri) == ("apptainer", "/images/it's mhfd.sif")
    assert engine.container_cmd_options == "--nv"
    monkeypatch.setenv("MHFD_CONTAINER", "podman")
    monkeypatch.setenv("MHFD_CONTAINER_OPTIONS", "--device nvidia.com/gpu=all -v /data:/data")
    engine = load(name, least(name)).engine
    assert (engine.container_type, engine.container_cmd_options) == (
        "podman",
        "--device nvidia.com/gpu=all -v /data:/data",
    )


def test_without_gpus_no_accelerator_is_pinned_and_each_core_has_a_worker(load: Callable[..., Any]) -> None:
    executor = load("cpu", {}).engine.executor
    assert (executor.available_accelerators, executor.max_workers_per_node) == ([], float("inf"))
    assert load("cpu", {"workers": 2}).engine.executor.max_workers_per_node == 2


@pytest.mark.parametrize("name", ["cpu", "dgx-a100", "workstation"])
def test_a_service_stays_warm(name: str, load: Callable[..., Any]) -> None:
    config = load(name, {})
    provider = config.engine.executor.provider
    assert config.idle_heartbeats_soft == 0
    assert (provider.init_blocks, provider.min_blocks, provider.max_blocks) == (1, 1, 1)
    assert config.engine.executor.address == "127.0.0.1"


@pytest.mark.parametrize("name", CLUSTERS)
def test_a_cluster_is_asked_for_nodes_only_when_there_are_tasks(name: str, load: Callable[..., Any]) -> None:
    config = load(name, {**least(name), CLUSTERS[name]: "debug", "walltime": "00:30:00", "nodes": 2, "jobs": 3})
    provider = config.engine.executor.provider
    assert config.idle_heartbeats_soft > 0
    assert (provider.init_blocks, provider.min_blocks, provider.max_blocks) == (0, 0, 3)
    assert (provider.account, getattr(provider, CLUSTERS[name]), provider.nodes_per_block) == ("m1234_g", "debug", 2)
    assert provider.walltime == "00:30:00"  # not the number that YAML makes of it without quotes
    assert config.engine.executor.drain_period == 25 * 60


def options_of(path: str) -> Json:
    found: Json = json.loads((FOLDERS / path).read_text(encoding="utf-8"))
    return found


def test_a_job_on_perlmutter_asks_for_what_perlmutter_wants(load: Callable[..., Any]) -> None:
    provider = load("slurm", options_of("slurm/options/good-perlmutter.json")).engine.executor.provider
    assert [line for line in provider.scheduler_options.splitlines() if line] == [
        "#SBATCH --exclusive", "#SBATCH --account=m1234_g", "#SBATCH --qos=regular", "#SBATCH --constraint=gpu",
        "#SBATCH --gpus-per-node=4",
    ]  # fmt: skip
    assert provider.cores_per_node == 128  # Parsl's name for `#SBATCH --cpus-per-task`
    assert provider.launcher.overrides == "--cpu-bind=none --gpus-per-node=4 --cpus-per-task=128"


def test_what_a_user_leaves_out_is_the_clusters_default(load: Callable[..., Any]) -> None:
    provider = load("slurm", least("slurm")).engine.executor.provider
    assert [line for line in provider.scheduler_options.splitlines() if line] == [
        "#SBATCH --exclusive", "#SBATCH --account=m1234_g", "#SBATCH --gpus-per-node=4",
    ]  # fmt: skip
    assert provider.launcher.overrides == "--cpu-bind=none --gpus-per-node=4"


def test_all_options_reach_the_job(load: Callable[..., Any]) -> None:
    provider = load("slurm", options_of("slurm/options/good-all.json")).engine.executor.provider
    assert (provider.partition, provider.qos, provider.constraint) == ("gpu", "debug", "a100")
    assert "#SBATCH --reservation=em_days\n" in provider.scheduler_options
    assert "#SBATCH --gpus-per-node=8\n" in provider.scheduler_options


def test_jobs_ask_for_the_gpus_of_their_nodes(load: Callable[..., Any]) -> None:
    pbs = load("pbs", least("pbs")).engine.executor.provider
    assert (pbs.select_options, pbs.scheduler_options) == ("ngpus=4", "#PBS -l filesystems=home:eagle")


# What a worker's shell does first


def started(provider: Any, home: Path, **environment: str) -> dict[str, str]:
    """The environment after the script that starts a worker."""
    script = f"{provider.worker_init}\nenv -0"
    path = {"PATH": os.environ["PATH"], "HOME": str(home), **environment}
    out = subprocess.run(["bash", "-euc", script], env=path, capture_output=True, text=True, check=True).stdout
    return dict(entry.split("=", 1) for entry in out.split("\0") if entry)


@pytest.mark.parametrize("name", NAMES)
def test_spool_and_results_lie_in_whatever_home_the_worker_has(
    name: str, load: Callable[..., Any], machine: Path
) -> None:
    after = started(load(name, least(name)).engine.executor.provider, machine)
    assert after["MHFD_SPOOL_DIR"] == f"{machine}/.mhfd/spool"
    assert after["MHFD_RESULT_DIR"] == f"{machine}/.mhfd/results"
    assert Path(after["MHFD_SPOOL_DIR"]).is_dir() and Path(after["MHFD_RESULT_DIR"]).is_dir()


@pytest.mark.parametrize("name", NAMES)
def test_the_endpoints_settings_reach_workers_whose_job_inherits_nothing(
    name: str, load: Callable[..., Any], machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {
        "GCS_LOCAL_MAPS": """{"c1": "/mnt/it's $HOME `here` \\\\ \\"quoted\\""}""",
        "MHFD_SPOOL_DIR": str(tmp_path / "a 'spool' $(touch hacked)"),
        "MHFD_BACKEND": "numpy",
        "MHFD_CPU_AFFINITY": "none",
        "CUPY_CACHE_DIR": str(tmp_path / "cupy"),
    }
    for key, value in settings.items():
        monkeypatch.setenv(key, value)
    after = started(load(name, least(name)).engine.executor.provider, machine)
    assert {key: after[key] for key in settings} == settings


@pytest.mark.parametrize("name", NAMES)
def test_where_many_send_tasks_none_reads_or_writes_files_unless_folders_are_listed(
    name: str, load: Callable[..., Any], machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = ("MHFD_ROOTS", "MHFD_OUT_ROOTS")
    after = started(load(name, least(name)).engine.executor.provider, machine)
    assert [after.get(limit) for limit in limits] == ([""] * 2 if name in MANY_USERS else [None] * 2)
    listed = {"MHFD_ROOTS": "/data/it's em:/scratch", "MHFD_OUT_ROOTS": "/data/$HOME", "MHFD_MAX_PIXELS": "1000"}
    for key, value in listed.items():
        monkeypatch.setenv(key, value)
    after = started(load(name, least(name)).engine.executor.provider, machine)
    assert {key: after[key] for key in listed} == listed
    monkeypatch.setenv("MHFD_ROOTS", "")  # which means none, in every folder
    assert started(load(name, least(name)).engine.executor.provider, machine)["MHFD_ROOTS"] == ""


@pytest.mark.parametrize("name", NAMES)
def test_temporary_files_lie_on_the_nodes_own_disk_where_one_is_named(
    name: str, load: Callable[..., Any], machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "TMPDIR" not in started(load(name, least(name)).engine.executor.provider, machine)
    monkeypatch.setenv("MHFD_SCRATCH", str(tmp_path / "it's $HOME"))
    after = started(load(name, least(name)).engine.executor.provider, machine)
    assert after["TMPDIR"] == str(tmp_path / "it's $HOME")


def test_a_worker_runs_in_the_environment_of_the_endpoint(
    load: Callable[..., Any], machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / "bin" / "activate").write_text("export ACTIVATED=yes\n")
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path / "venv"))
    assert started(load("pbs", least("pbs")).engine.executor.provider, machine)["ACTIVATED"] == "yes"


def test_workers_are_counted_by_the_cores_a_job_may_use(load: Callable[..., Any], machine: Path) -> None:
    after = started(load("cpu", {}).engine.executor.provider, machine)
    assert int(after["PARSL_CORES"]) == len(os.sched_getaffinity(0))


# The pages for users and administrators


def test_users_are_told_of_every_option() -> None:
    page = (FOLDERS.parent / "docs" / "endpoints.md").read_text(encoding="utf-8")
    section = page.split("## An endpoint on a cluster\n")[1].split("\n## ")[0]
    for name in CLUSTERS:
        schema = json.loads((FOLDERS / name / "user_config_schema.json").read_text(encoding="utf-8"))
        assert set(schema["properties"]) <= set(re.findall(r"`(\w+)`", section))


def test_administrators_are_told_of_every_setting() -> None:
    told = (FOLDERS / "dgx-a100" / "user_environment.yaml").read_text(encoding="utf-8")
    templates = "".join(path.read_text(encoding="utf-8") for path in FOLDERS.glob("*/*.j2"))
    assert set(re.findall(r"_GC\.env\.(MHFD_\w+)", templates)) <= set(re.findall(r"MHFD_\w+", told))


def commands() -> list[str]:
    text = (FOLDERS / "README.md").read_text(encoding="utf-8")
    block = re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)[0]
    return [line.partition("  #")[0].strip() for line in block.splitlines() if line and not line.startswith("#")]


def test_ten_commands_are_enough() -> None:
    assert len(commands()) <= 10


def test_the_tools_commands_on_the_page_exist(app: Any) -> None:
    for command in commands():
        if command.startswith("globus-compute-endpoint"):
            _, name, *rest = shlex.split(command)
            known = {option for parameter in app.commands[name].params for option in parameter.opts}
            assert {word for word in rest if word.startswith("-")} <= known


def test_a_folder_copied_as_the_page_says_renders_by_its_name(tool: str, machine: Path) -> None:
    checkout = FOLDERS.parent
    for command in commands():
        if command.startswith(("mkdir", "cp", "globus-compute-endpoint render-user-config")):
            environment = {**os.environ, "PATH": f"{Path(tool).parent}{os.pathsep}{os.environ['PATH']}"}
            subprocess.run(["bash", "-ec", command], cwd=checkout, env=environment, check=True, capture_output=True)
