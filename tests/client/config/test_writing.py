"""`mhfd init` and `mhfd config`: what they write, show and find."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path, PureWindowsPath
from typing import Any
from uuid import UUID

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from mhfd_client.cli import main
from mhfd_client.config import Config, ConfigError, default_path, load_config, parse_config
from mhfd_client.config.describe import TABLES, json_schema, keys
from mhfd_client.config.interview import (
    interview,
    understand_endpoint,
    understand_layout,
    understand_path,
    understand_way,
)
from mhfd_client.config.load import tomllib
from mhfd_client.config.toml import toml, toml_key
from mhfd_client.config.writing import Answers, Way, configuration, next_commands, write

ENDPOINT = UUID("4b116d3c-1703-4f8f-9f6f-39921e5864df")
SOURCE = UUID("1d5a6ab4-1b1c-4c1e-9d9c-5d1b3f6e6b0a")
DESTINATION = UUID("6528bad6-cefc-4aa8-8dde-52b3b5ad4c5c")
PAGE = (Path(__file__).parents[3] / "docs" / "configuration.md").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without configuration, data and variables, in a working folder with only their home."""
    for name in [name for name in os.environ if name.startswith("MHFD_")]:
        monkeypatch.delenv(name)
    for name in ("HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "user"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def invoke(*args: str | Path) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


def written(**answers: Any) -> Config:
    """The configuration written for these answers."""
    return parse_config(tomllib.loads(configuration(Answers(**{"folder": Path("/em"), **answers}))))


# --- TOML ----------------------------------------------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
PLAIN = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | TEXT
VALUES = st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3))


@settings(deadline=None)
@given(TEXT, VALUES)
def test_what_is_written_is_read_again(key: str, value: Any) -> None:
    assert tomllib.loads(f"{toml_key(key)} = {toml(value)}") == {key: value}


@settings(deadline=None)
@given(TEXT)
def test_any_folder_can_be_named(name: str) -> None:
    assert tomllib.loads(f"folder = {toml(Path(name))}") == {"folder": str(Path(name))}


def test_windows_paths_are_written_as_they_are() -> None:
    assert toml(PureWindowsPath(r"C:\new\table")) == r"'C:\new\table'"


def test_a_name_that_is_no_unicode_is_refused() -> None:
    with pytest.raises(ConfigError, match="another name"):
        configuration(Answers(folder=Path("em\udcff")))


# --- What is written -----------------------------------------------------------------------------------------------

EVERY_WAY = {
    "here": {},
    "inside the task": {"endpoint": "dgx", "uuid": ENDPOINT, "way": Way()},
    "shared disk": {"endpoint": "dgx", "uuid": ENDPOINT, "way": Way(method="shared", endpoint_root="/scratch/em")},
    "Globus": {
        "endpoint": "my dgx",
        "uuid": ENDPOINT,
        "way": Way(method="globus", source_collection=SOURCE, destination_collection=DESTINATION),
    },
}


@pytest.mark.parametrize("answers", EVERY_WAY.values(), ids=EVERY_WAY)
def test_what_is_written_can_be_used(answers: dict[str, Any]) -> None:
    config = written(**answers)
    profile = config.profile_named(None)
    assert profile.folder == Path("/em")
    assert config.entry(profile.endpoint) is not None


def test_the_shared_folder_is_mapped() -> None:
    (mapping,) = written(**EVERY_WAY["shared disk"]).endpoints["dgx"].data
    assert (mapping.local_root, mapping.root) == (Path("/em"), "/scratch/em")


def test_both_collections_are_written() -> None:
    transfer = written(**EVERY_WAY["Globus"]).endpoints["my dgx"].transfer
    assert transfer is not None
    assert (transfer.source_collection, transfer.destination_collection) == (SOURCE, DESTINATION)


@pytest.mark.parametrize("answers", EVERY_WAY.values(), ids=EVERY_WAY)
def test_each_commented_key_can_be_uncommented(answers: dict[str, Any]) -> None:
    text = configuration(Answers(folder=Path("/em"), **answers))
    assert "\n# pattern = " in text
    text = text.replace("\n# pattern = ", "\n## pattern = ")  # only for layout "regex"
    parse_config(tomllib.loads(re.sub(r"^# (?=\w+ = )", "", text, flags=re.MULTILINE)))


def test_every_key_of_a_profile_is_there() -> None:
    text = configuration(Answers(folder=Path("/em")))
    assert all(re.search(rf"^(# )?{key.name} = ", text, re.MULTILINE) for key in keys(TABLES["profiles.NAME"]))


def test_each_line_says_what_its_key_means() -> None:
    text = configuration(Answers(folder=Path("/em"), endpoint="dgx", uuid=ENDPOINT))
    assert all(re.search(r"  # \S", line) for line in text.splitlines() if re.match(r"(# )?\w+ = ", line))


# --- Writing -------------------------------------------------------------------------------------------------------


def test_init_with_yes_needs_no_more_than_the_folder(nobody: Path) -> None:
    result = invoke("init", "--yes", "--folder", "em ü")
    assert result.exit_code == 0, result.output
    assert load_config().profile_named(None).folder == nobody / "em ü"


def test_init_ends_with_what_to_type_next() -> None:
    result = invoke("init", "--yes", "--folder", "em")
    assert result.stdout.splitlines()[1:] == ["  mhfd doctor", "  mhfd watch"]


def test_init_takes_every_answer_as_a_flag(nobody: Path) -> None:
    result = invoke(
        *("init", "--folder", "em", "--layout", "regex s(?P<section>[0-9]+)", "--endpoint", f"dgx={ENDPOINT}"),
        *("--transfer", f"globus {DESTINATION} {SOURCE}", "--endpoint-root", "/home/em", "--ledger", "l.db"),
        *("--profile", "merlin", "--functions", "f.json", "--config", "here.toml"),
    )
    assert result.exit_code == 0, result.output
    config = load_config("here.toml")
    profile, entry = config.profiles["merlin"], config.endpoints["dgx"]
    assert (profile.layout, profile.pattern, profile.endpoint) == ("regex", "s(?P<section>[0-9]+)", "dgx")
    assert entry.transfer is not None
    assert (entry.transfer.method, entry.transfer.endpoint_root) == ("globus", "/home/em")
    assert (config.ledger, entry.functions_file) == (str(nobody / "l.db"), nobody / "f.json")


def test_the_layout_is_taken_from_the_files_that_are_there(nobody: Path) -> None:
    (nobody / "em" / "tiles").mkdir(parents=True)
    for tile in range(3):
        (nobody / "em" / "tiles" / f"run_g0000_t{tile:04}_s00001.tif").touch()
    invoke("init", "--yes", "--folder", "em")
    assert load_config().profile_named(None).layout == "sbemimage"


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ((), "--folder, --layout, --endpoint, --ledger; or --yes"),
        (("--folder", "em", "--endpoint", str(ENDPOINT)), "--layout, --transfer, --ledger"),
        (("--yes",), "give --folder"),
        (("--yes", "--folder", "em", "--layout", "sbem"), "--layout: there is no layout 'sbem'; did you mean 'sbemima"),
        (("--yes", "--folder", "em", "--layout", "regex ("), "--layout: pattern: "),
        (("--yes", "--folder", "em", "--endpoint", "dgx"), "--endpoint: 'dgx' is not a UUID"),
        (("--yes", "--folder", "em", "--endpoint", f"local={ENDPOINT}"), "'local' is this machine"),
        (("--yes", "--folder", "em", "--endpoint", str(ENDPOINT), "--transfer", "shared"), "like shared /scratch/em"),
        (("--yes", "--folder", "em", "--endpoint", str(ENDPOINT), "--transfer", "globus x"), "the UUIDs of two"),
        (("--yes", "--folder", "em", "--endpoint", str(ENDPOINT), "--transfer", "ftp"), "write inline, or shared"),
        (("--yes", "--folder", "em", "--ledger", "postgresql://em:hunter2@host/db"), "PGPASSWORD"),
    ],
)
def test_what_cannot_be_used_is_told_and_nothing_written(flags: tuple[str, ...], told: str) -> None:
    result = invoke("init", *flags)
    assert result.exit_code == 2
    assert told in " ".join(result.stderr.split())
    assert "hunter2" not in result.stderr
    assert not default_path().exists()


def test_a_configuration_is_not_replaced_unasked() -> None:
    invoke("init", "--yes", "--folder", "em")
    before = default_path().read_bytes()
    result = invoke("init", "--yes", "--folder", "other")
    assert result.exit_code == 78
    assert "--force" in result.stderr
    assert default_path().read_bytes() == before


def test_whatever_is_replaced_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    texts = [configuration(Answers(folder=Path(name))) for name in ("/a", "/b", "/c")]
    copies = [write(file, text, force=True) for text in texts]
    assert copies[0] is None
    assert [copy.read_text(encoding="utf-8") for copy in copies[1:] if copy] == texts[:2]


def test_what_does_not_load_replaces_nothing(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    write(file, configuration(Answers(folder=Path("/a"))))
    before = file.read_bytes()
    with pytest.raises(ConfigError, match="unknown key"):
        write(file, "nonsense = 1", force=True)
    assert [each.name for each in tmp_path.glob("config*")] == ["config.toml"]
    assert file.read_bytes() == before


def test_the_next_commands_name_the_endpoint_and_the_file(tmp_path: Path) -> None:
    answers = Answers(folder=tmp_path, endpoint="dgx", uuid=ENDPOINT)
    register, doctor, watch = next_commands(answers, tmp_path / "my config.toml")
    assert register.startswith("mhfd register --file ")
    assert doctor.startswith("mhfd doctor --endpoint dgx --config ")
    assert watch.startswith("mhfd watch --config ")


def test_who_has_the_functions_need_not_register(tmp_path: Path) -> None:
    (tmp_path / "functions.json").touch()
    commands = list(next_commands(Answers(folder=tmp_path, uuid=ENDPOINT), tmp_path / "config.toml"))
    assert not any("register" in each for each in commands)


# --- Questions -----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="has no pseudo-terminals")
def test_five_questions_are_asked_of_a_person_and_again_when_not_understood(nobody: Path) -> None:
    import pty

    keyboard, terminal = pty.openpty()
    try:
        answers = ["em", "sbemimage", "dgx", f"dgx={ENDPOINT}", "shared", "shared '/scratch/e m'", "", ""]
        os.write(keyboard, "\n".join(answers).encode())
        done = subprocess.run(
            [sys.executable, "-m", "mhfd_client", "init"], stdin=terminal, capture_output=True, text=True, timeout=60
        )
    finally:
        os.close(keyboard)
        os.close(terminal)
    assert done.returncode == 0, done.stderr
    assert re.findall(r"(\d)\. (?=[WH])", done.stdout) == ["1", "2", "3", "4", "5"]
    assert "4. How do tiles get there?\n   inline" in done.stdout
    config = load_config()
    profile = config.profile_named(None)
    assert (profile.folder, profile.layout, profile.endpoint) == (nobody / "em", "sbemimage", "dgx")
    assert config.endpoints["dgx"].data[0].root == "/scratch/e m"
    assert config.ledger is None


@pytest.mark.parametrize(
    "given",
    [
        {"--endpoint": "local"},
        {"--endpoint": str(ENDPOINT)},
        {"--folder": "em", "--layout": "auto", "--endpoint": "local"},
        {},
    ],
)
def test_questions_are_numbered_as_they_are_asked(nobody: Path, given: dict[str, str]) -> None:
    """On this machine there is no question of a way, and none is asked that a flag answers."""
    asked: list[str] = []

    def usual(question: str, usual: str | None, understand: Any) -> Any:
        asked.append(question)
        return understand(usual or "em")

    interview(given, usual)
    assert [question.partition(". ")[0] for question in asked] == [str(n + 1) for n in range(len(asked))]
    assert asked


def test_a_uuid_without_a_name_gets_one() -> None:
    assert understand_endpoint(str(ENDPOINT)) == ("hpc", ENDPOINT)


def test_a_folder_may_be_in_quotes(nobody: Path) -> None:
    assert understand_path('"my em" ') == nobody / "my em"


def test_a_pattern_may_be_in_quotes() -> None:
    assert understand_layout("regex 's(?P<section>1) (2)'").pattern == "s(?P<section>1) (2)"


def test_the_collection_of_this_machine_is_found(nobody: Path) -> None:
    pytest.importorskip("globus_sdk")
    at = "Globus Connect/client-id.txt" if sys.platform == "win32" else ".globusonline/lta/client-id.txt"
    (nobody / "user" / at).parent.mkdir(parents=True)
    (nobody / "user" / at).write_text(str(SOURCE))
    assert understand_way(f"globus {DESTINATION}").source_collection == SOURCE


# --- mhfd config ---------------------------------------------------------------------------------------------------


@pytest.fixture
def configured(nobody: Path) -> Path:
    """A valid file that has `merlin` and `dgx`."""
    (nobody / "em").mkdir()
    (nobody / "config.toml").write_text(f"""\
profile = "merlin"

[profiles.merlin]
endpoint = "dgx"
folder = "em"
settle_s = 3

[endpoints.dgx]
uuid = "{ENDPOINT}"
functions = {{ score_inline = "{SOURCE}" }}
data = {{ root = "/scratch" }}
""")
    return nobody / "config.toml"


def shown(file: Path, *more: str) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(invoke("config", "show", "--json", "--config", file, *more).stdout)
    return values


def test_show_tells_each_value_and_who_says_so(configured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MHFD_POLL_S", "7")
    values = shown(configured)
    assert values["config"] == {"value": str(configured), "origin": "flag"}
    assert values["settle_s"] == {"value": 3.0, "origin": str(configured)}
    assert values["poll_s"] == {"value": 7.0, "origin": "MHFD_POLL_S"}
    assert values["stall_s"] == {"value": 600.0, "origin": "default"}
    assert values["endpoints.dgx.data.0.root"] == {"value": "/scratch", "origin": str(configured)}
    assert values["endpoints.dgx.limits.patience_s"] == {"value": 3600.0, "origin": "default"}


def test_show_is_readable_too(configured: Path) -> None:
    lines = invoke("config", "show", "--config", configured).stdout.splitlines()
    assert any(re.fullmatch(rf"settle_s +3\.0  \({re.escape(str(configured))}\)", line) for line in lines)


def test_show_without_a_file_shows_the_defaults() -> None:
    assert json.loads(invoke("config", "show", "--json").stdout)["endpoint"] == {"value": "local", "origin": "default"}


def test_show_of_an_unknown_profile_is_refused(configured: Path) -> None:
    result = invoke("config", "show", "--profile", "merlyn", "--config", configured)
    assert result.exit_code == 78
    assert "did you mean 'merlin'" in result.stderr


def test_show_tells_of_an_unknown_variable_on_standard_error(configured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MHFD_SETTLES", "1")
    result = invoke("config", "show", "--json", "--config", configured)
    assert "MHFD_SETTLE_S" in result.stderr
    assert json.loads(result.stdout)


def test_show_never_shows_secrets(configured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGPASSWORD", "GLOBUS_COMPUTE_CLIENT_SECRET", "MHFD_SECRET"):
        monkeypatch.setenv(name, "hunter2")
    assert "hunter2" not in invoke("config", "show", "--config", configured).output


def test_validate_says_ok(configured: Path) -> None:
    result = invoke("config", "validate", configured)
    assert (result.exit_code, result.output) == (0, "ok\n")


def test_validate_without_a_file_says_ok() -> None:
    assert invoke("config", "validate").exit_code == 0


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("MHFD_SETTLES_S", "3", "did you mean 'MHFD_SETTLE_S'?"),
        ("MHFD_SETTLE_S", "three", "MHFD_SETTLE_S: settle_s: Input should be a valid number"),
        ("MHFD_ENDPOINT", "locl", "MHFD_ENDPOINT: there is no endpoint 'locl'; did you mean 'local'?"),
        ("MHFD_PROFILE", "merlyn", "MHFD_PROFILE: there is no profile named 'merlyn'"),
        ("MHFD_LEDGER", "mysql://host/db", "MHFD_LEDGER: a ledger is a file"),
    ],
)
def test_show_and_validate_tell_the_same_of_the_environment(
    configured: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, told: str
) -> None:
    monkeypatch.setenv(name, value)
    assert told in invoke("config", "show", "--config", configured).stderr
    validated = invoke("config", "validate", configured)
    assert told in validated.stderr
    assert validated.exit_code == (0 if name == "MHFD_SETTLES_S" else 78)


def test_validate_lists_every_mistake_with_its_line(configured: Path) -> None:
    configured.write_text(configured.read_text().replace("settle_s = 3", "settle = 3").replace('"em"', "1"))
    result = invoke("config", "validate", configured)
    assert result.exit_code == 78
    assert [line.partition(": ")[2][:7] for line in result.stderr.splitlines()] == ["line 5:", "line 6:"]


def test_validate_names_the_line_of_broken_toml(configured: Path) -> None:
    configured.write_text("profile = \n")
    result = invoke("config", "validate", configured)
    assert result.exit_code == 78
    assert "line 1" in result.stderr


@pytest.mark.parametrize(
    ("old", "new", "exit_code", "told"),
    [
        ('endpoint = "dgx"', 'endpoint = "dxg"', 78, "error: line 4: profiles.merlin.endpoint: there is no"),
        ('"em"', '"gone"', 0, "warning: line 5: profiles.merlin.folder: there is no folder"),
        ("functions = ", "# functions = ", 0, "warning: line 8: endpoints.dgx: the endpoint 'dgx' has no functions"),
        ("data = {", 'data = { local_root = "gone",', 0, "warning: line 11: endpoints.dgx.data.local_root: "),
    ],
)  # fmt: skip
def test_validate_finds_what_the_disk_tells(configured: Path, old: str, new: str, exit_code: int, told: str) -> None:
    configured.write_text(configured.read_text().replace(old, new, 1))
    result = invoke("config", "validate", configured)
    assert (result.exit_code, told in result.stderr) == (exit_code, True), result.stderr


def test_validate_finds_a_layout_that_takes_no_file_for_a_tile(configured: Path) -> None:
    (configured.parent / "em" / "a.tif").touch()
    pattern = "layout = 'regex'\npattern = 's(?P<section>[0-9]+)'\nsettle_s"
    configured.write_text(configured.read_text().replace("settle_s", pattern))
    result = invoke("config", "validate", configured)
    assert result.exit_code == 0
    assert "matches none of the 1 images" in result.stderr


def test_schema_accepts_the_example_of_the_documentation() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE, flags=re.DOTALL)
    schema = json.loads(invoke("config", "schema").stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert list(jsonschema.Draft202012Validator(schema).iter_errors(tomllib.loads(example))) == []


@pytest.mark.parametrize("answers", EVERY_WAY.values(), ids=EVERY_WAY)
def test_schema_accepts_what_init_writes(answers: dict[str, Any]) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    text = configuration(Answers(folder=Path("/em"), **answers))
    assert list(jsonschema.Draft202012Validator(json_schema()).iter_errors(tomllib.loads(text))) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"profil": "a"},
        {"profiles": {"a": {"settle": 1}}},
        {"profiles": {"a": {"params": {"n_scale": 1}}}},
        {"endpoints": {"local": {"uuid": str(ENDPOINT)}}},
        {"endpoints": {"dgx": {}}},
        {"endpoints": {"dgx": {"uuid": str(ENDPOINT), "data": [{"rot": "/"}]}}},
        {"local": {}},
    ],
)
def test_schema_refuses_what_the_model_refuses(wrong: dict[str, Any]) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    assert not jsonschema.Draft202012Validator(json_schema()).is_valid(wrong)
    with pytest.raises(ConfigError):
        parse_config(wrong)


def test_schema_describes_every_key() -> None:
    definitions = [json_schema(), *json_schema()["$defs"].values()]
    assert all(field["description"] for each in definitions for field in each["properties"].values())


# --- The documentation ---------------------------------------------------------------------------------------------

COMMANDS = re.findall(r"^mhfd .*", "\n".join(re.findall(r"```sh\n(.*?)```", PAGE, flags=re.DOTALL)), re.MULTILINE)


@pytest.mark.parametrize("command", [each for each in COMMANDS if not each.startswith("mhfd init  ")])
def test_the_commands_of_the_documentation_run(command: str) -> None:
    result = invoke(*shlex.split(command, comments=True)[1:])
    assert result.exit_code == 0, result.output
