"""The configuration: it accepts valid keys, and names the mistakes in the rest."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mhfd_client.config import (
    Config,
    ConfigError,
    DataMapping,
    GlobusEndpoint,
    LocalEndpoint,
    Profile,
    ledger_path,
    load_config,
    parse_config,
    resolve,
)
from mhfd_client.config.base import Frozen, model_in
from mhfd_client.config.describe import TABLES, keys, markdown
from mhfd_client.config.profile import EXAMPLE_PATTERN
from mhfd_client.config.settings import OTHER_VARIABLES, VARIABLES

UUID = "4b116d3c-1703-4f8f-9f6f-39921e5864df"
FUNCTION = "c407ae80-b31f-447a-9fa6-124098492057"
TOML = f"""
[endpoints.dgx]
uuid = "{UUID}"
functions = {{ score_inline = "{FUNCTION}", score_paths = "{FUNCTION}" }}
user_endpoint_config = {{ account = "m1234", options = {{ gpus = 8 }} }}
fallback = "local"

[endpoints.dgx.data]
local_root = "/data/em"
root = "/scratch/em"

[endpoints.dgx.limits]
tasks_in_flight = 4

[endpoints.local]
workers = 2
"""


def globus(config: Config, name: str = "dgx") -> GlobusEndpoint:
    entry = config.endpoint(name)
    assert isinstance(entry, GlobusEndpoint)
    return entry


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(TOML)
    return path


def test_without_a_file_there_is_local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MHFD_CONFIG", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("APPDATA", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_config().names == ["local"]
    assert isinstance(load_config().endpoint("local"), LocalEndpoint)


def test_file_is_read(file: Path) -> None:
    entry = globus(load_config(file))
    assert str(entry.uuid) == UUID
    assert entry.limits.tasks_in_flight == 4
    assert entry.limits.max_task_bytes == 9_500_000
    assert entry.user_endpoint_config == {"account": "m1234", "options": {"gpus": 8}}
    assert entry.fallback == "local"


def test_file_named_by_the_environment_is_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MHFD_CONFIG", str(file))
    assert load_config().names == ["local", "dgx"]


def test_local_can_be_set(file: Path) -> None:
    assert load_config(file).local.workers == 2


def test_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        load_config(tmp_path / "none.toml")


def test_broken_toml_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[endpoints\n")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_config(tmp_path / "config.toml")


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"endpoint": {}}, "unknown key 'endpoint'; did you mean 'endpoints'"),
        ({"endpoints": {"a": {"uuid": UUID, "fallbak": "local"}}}, "'endpoints.a.fallbak'; did you mean 'fallback'"),
        ({"endpoints": {"a": {"uuid": UUID, "limits": {"task_in_flight": 1}}}}, "did you mean 'tasks_in_flight'"),
        ({"endpoints": {"a": {"uuid": UUID, "data": {"rooot": "/x"}}}}, "did you mean 'root'"),
        ({"endpoints": {"local": {"worker": 1}}}, "'endpoints.local.worker'; did you mean 'workers'"),
        ({"endpoints": {"a": {"uuid": "dgx"}}}, "endpoints.a.uuid"),
        ({"endpoints": {"a": {}}}, "endpoints.a.uuid: Field required"),
        ({"endpoints": {"a": {"uuid": UUID, "limits": {"tasks_in_flight": 0}}}}, "endpoints.a.limits.tasks_in_flight"),
        ({"endpoints": {"a": {"uuid": UUID, "user_endpoint_config": {"db_password": "x"}}}}, "no place in this file"),
    ],
)
def test_mistake_is_named(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_config(wrong)
    assert told in str(error.value)


def test_unknown_endpoint_names_the_nearest(file: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'dgx'"):
        load_config(file).endpoint("dxg")


def test_endpoint_is_found_by_its_uuid(file: Path) -> None:
    assert globus(load_config(file), UUID).fallback == "local"


def test_uuid_alone_uses_the_registered_functions(tmp_path: Path) -> None:
    from mhfd.registry import FunctionRecord, save

    record = FunctionRecord(
        name="score_inline", version="0", uuid=FUNCTION, sha256="0", python="3", sdk=None, date="2026-01-31"
    )
    save(tmp_path / "functions.json", [record])
    config = parse_config({"functions_file": "functions.json"}, folder=tmp_path)
    assert {name: str(uuid) for name, uuid in globus(config, UUID).functions.items()} == {"score_inline": FUNCTION}


def test_endpoint_without_functions_says_to_register() -> None:
    with pytest.raises(ConfigError, match="mhfd register"):
        Config().endpoint(UUID)


def test_entries_are_frozen(file: Path) -> None:
    with pytest.raises(ValueError, match="frozen"):
        globus(load_config(file)).fallback = "none"


def test_file_below_local_root_has_a_path_at_the_endpoint(tmp_path: Path) -> None:
    mapping = DataMapping(local_root=tmp_path, root="/scratch/em")
    place = mapping.at_endpoint(str(tmp_path / "run 1" / "t.tif"), 2, "name")
    assert place == {"path": "/scratch/em/run 1/t.tif", "page": 2, "name": "name"}


def test_file_of_a_collection_has_a_relative_path(tmp_path: Path) -> None:
    mapping = DataMapping(local_root=tmp_path, root="/em", collection=UUID)  # type: ignore[arg-type]
    place = mapping.at_endpoint(str(tmp_path / "t.tif"), None, "t")
    assert place == {"collection": UUID, "path": "em/t.tif", "page": None, "name": "t"}


def test_file_elsewhere_has_none(tmp_path: Path) -> None:
    assert DataMapping(local_root=tmp_path / "a", root="/b").at_endpoint(str(tmp_path / "c.tif"), None, "c") is None


def test_file_that_only_the_endpoint_has_keeps_its_name() -> None:
    place = DataMapping(root="/scratch").at_endpoint("/scratch/run/t.tif", None, "t")
    assert place == {"path": "/scratch/run/t.tif", "page": None, "name": "t"}


def test_configuration_of_the_documentation_is_accepted(tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "docs" / "endpoints.md").read_text(encoding="utf-8")
    (tmp_path / "config.toml").write_text(text.split("```toml\n")[1].split("```")[0], encoding="utf-8")
    assert load_config(tmp_path / "config.toml").names == ["local", "dgx"]


# --- The file and its lines ----------------------------------------------------------------------------------------


def test_mistakes_are_told_with_their_lines(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f"""\
[profiles.sem]
exclude = [
  "a",
]
settle = 2

[endpoints.dgx]
uuid = "{UUID}"

[endpoints.dgx.transfer]
active_tasks = 4

[endpoints.other]
""")
    with pytest.raises(ConfigError) as error:
        load_config(file)
    assert [(each.line, each.place[-1]) for each in error.value.problems] == [
        (5, "settle"),
        (11, "active_tasks"),
        (13, "uuid"),
    ]


def test_the_line_of_a_value_of_several_lines_is_its_first(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[profiles.sem]\n# exclude it\nexclude = [\n  1,\n]\n")
    with pytest.raises(ConfigError) as error:
        load_config(file)
    assert [each.line for each in error.value.problems] == [3]


def test_the_second_of_two_mappings_is_found(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    mapping = '[[endpoints.dgx.data]]\nroot = "/a"\n'
    file.write_text(f'[endpoints.dgx]\nuuid = "{UUID}"\n{mapping}{mapping}rot = 1\n')
    with pytest.raises(ConfigError) as error:
        load_config(file)
    assert [each.line for each in error.value.problems] == [7]


def test_the_mark_that_windows_puts_in_front_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_bytes(b"\xef\xbb\xbf" + TOML.encode())
    assert load_config(tmp_path / "config.toml").names == ["local", "dgx"]


def test_a_file_in_another_encoding_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('profile = "ä"', encoding="utf-16")
    with pytest.raises(ConfigError, match="save it as UTF-8"):
        load_config(tmp_path / "config.toml")


def test_a_windows_path_in_double_quotes_gets_a_hint(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('ledger = "C:\\data\\ledger.db"')
    with pytest.raises(ConfigError, match="single quotes"):
        load_config(tmp_path / "config.toml")


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"profiles": {"sem": {"settle": 1}}}, "unknown key 'profiles.sem.settle'; did you mean 'settle_s'"),
        ({"profiles": {"limits": {"setle_s": 1}}}, "did you mean 'settle_s'"),
        ({"profiles": {"sem": {"params": {"n_scale": 8}}}}, "did you mean 'n_scales'"),
        ({"profiles": {"sem": {"params": {"n_scales": 0}}}}, "profiles.sem.params: n_scales must be"),
        ({"profiles": {"sem": {"layout": "regex"}}}, 'layout "regex" needs a pattern'),
        ({"profiles": {"sem": {"pattern": "(?P<row>1)"}}}, 'a pattern is for layout "regex"'),
        ({"profiles": {"sem": {"layout": "regex", "pattern": "(?P<row>"}}}, "not a regular expression"),
        ({"profiles": {"sem": {"layout": "regex", "pattern": "(1)"}}}, "none of the named groups"),
        ({"profiles": {"sem": {"marker": "done"}}}, "like {name}.done"),
        ({"profiles": {"sem": {"marker": "done/{name}"}}}, "like {name}.done"),
        ({"profiles": {"sem": {"listen": "8765"}}}, "write HOST:PORT"),
        ({"profiles": {"sem": {"poll_s": 0}}}, "profiles.sem.poll_s"),
        ({"profiles": {"sem": {"poll_s": float("nan")}}}, "profiles.sem.poll_s"),
        ({"profiles": {"sem": {"stall_s": float("inf")}}}, "profiles.sem.stall_s"),
        ({"profiles": {"sem": {}}, "profile": "tem"}, "profile: there is no [profiles.tem]; did you mean 'sem'"),
        ({"endpoints": {"a": {"uuid": UUID, "transfer": {"metod": "inline"}}}}, "did you mean 'method'"),
        ({"endpoints": {"a": {"uuid": UUID, "transfer": {"method": "globus"}}}}, "needs both source_collection and"),
        ({"endpoints": {"a": {"uuid": UUID, "transfer": {"source_collection": UUID}}}}, "needs both"),
        ({"endpoints": {"a": {"uuid": UUID, "transfer": {"active_tasks": 4}}}}, "endpoints.a.transfer.active_tasks"),
        ({"endpoints": {"a": {"uuid": UUID, "transfer": {"destination_root": "em"}}}}, "must begin with a slash"),
        ({"ledger": "mysql://em@host/db"}, "not mysql://"),
        ({"ledger": " "}, "name a file"),
    ],
)
def test_mistake_in_what_is_watched_is_named(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_config(wrong)
    assert told in str(error.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"ledger": "postgresql://em:hunter2@host/db"},
        {"ledger": "postgresql://em@host/db?password=hunter2"},
        {"ledger": "postgresql://em:/#@?hunter2@host/db"},
        {"endpoints": {"a": {"uuid": UUID, "user_endpoint_config": {"options": [{"api_token": "hunter2"}]}}}},
        {"endpoints": {"a": {"uuid": UUID, "user_endpoint_config": {"proxy": "http://em:hunter2@host"}}}},
    ],
)
def test_a_secret_is_refused_and_not_repeated(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="no place") as error:
        parse_config(wrong)
    assert "hunter2" not in str(error.value)


def test_relative_files_are_taken_from_the_folder_of_the_file(tmp_path: Path) -> None:
    entry = {"uuid": UUID, "transfer": {"local_root": "b"}, "data": {"local_root": "c"}}
    given = {"ledger": "l.db", "profiles": {"sem": {"folder": "a", "log_dir": "logs"}}, "endpoints": {"dgx": entry}}
    config = parse_config(given, folder=tmp_path)
    sem, dgx = config.profiles["sem"], config.endpoints["dgx"]
    assert dgx.transfer is not None
    found = [sem.folder, sem.log_dir, dgx.transfer.local_root, dgx.data[0].local_root, Path(config.ledger or "")]
    assert found == [tmp_path / name for name in ("a", "logs", "b", "c", "l.db")]


def test_the_home_folder_is_written_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert parse_config({"profiles": {"sem": {"folder": "~/em"}}}, folder=tmp_path / "x").profiles["sem"].folder == (
        tmp_path / "em"
    )


def test_the_example_pattern_is_one() -> None:
    assert Profile(layout="regex", pattern=EXAMPLE_PATTERN).pattern == EXAMPLE_PATTERN


@pytest.mark.parametrize("where", ["postgresql://host/db", "postgresql://em@host:5432/db?sslmode=require"])
def test_a_database_without_a_password_is_accepted(where: str) -> None:
    assert parse_config({"ledger": where}).ledger == where


# --- Which ledger, which profile -----------------------------------------------------------------------------------


@pytest.fixture
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without configuration, data and variables."""
    for name in [name for name in os.environ if name.startswith("MHFD_")]:
        monkeypatch.delenv(name)
    for name in ("HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "user"))
    return tmp_path


def test_the_ledger_of_nobody_is_a_file_of_the_user(nobody: Path) -> None:
    assert Path(ledger_path(Config())).is_relative_to(nobody / "user")


def test_the_ledger_is_flag_before_environment_before_file(nobody: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = parse_config({"ledger": "postgresql://em@host/db"})
    assert ledger_path(config) == "postgresql://em@host/db"
    monkeypatch.setenv("MHFD_LEDGER", "env.db")
    assert ledger_path(config) == "env.db"
    assert ledger_path(config, "flag.db") == "flag.db"


def test_a_password_in_the_variable_is_refused_and_not_repeated(nobody: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MHFD_LEDGER", "postgresql://em:hunter2@host/db")
    with pytest.raises(ConfigError, match="MHFD_LEDGER: a password has no place") as error:
        ledger_path(Config())
    assert "hunter2" not in str(error.value)


def test_without_profiles_there_are_defaults() -> None:
    assert Config().profile_named(None) == Profile()


def test_the_file_says_which_profile_is_meant() -> None:
    config = parse_config({"profile": "tem", "profiles": {"sem": {}, "tem": {"poll_s": 9}}})
    assert config.profile_named(None).poll_s == 9


def test_unknown_profile_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'merlin'"):
        parse_config({"profiles": {"merlin": {}}}).profile_named("merlyn")


# --- Flag, environment, file, default ------------------------------------------------------------------------------

ODD = {
    "endpoint": ("dgx", "hpc", "lab"),
    "layout": ("atlas", "sbemimage", "multisem"),
    "folder": ("/a", "/b", "/c"),
    "marker": ("{name}.a", "{stem}.b", "{name}.c"),
    "order": ("newest", "oldest", "fresh"),
    "listen": ("127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"),
    "fallback": ("local", "none", "local"),
    "instrument": ("sem1", "sem2", "sem3"),
    "ledger_gone": ("end", "recreate", "end"),
    "log_dir": ("/d", "/e", "/f"),
    "log_days": (3, 4, 5),
    "poll_s": (3.0, 4.0, 5.5),
    "settle_s": (3.0, 4.0, 5.5),
    "stall_s": (3.0, 4.0, 5.5),
    "fresh_s": (3.0, 4.0, 5.5),
}
"""Key of a profile -> its values in file, environment and flag."""


@pytest.mark.parametrize("key", [key for key in VARIABLES.values() if key != "pattern"])
def test_flag_before_environment_before_file_before_default(key: str) -> None:
    in_file, in_environment, as_flag = ODD[key]
    variable = f"MHFD_{key.upper()}"
    told = parse_config({"profile": "sem", "profiles": {"sem": {key: in_file}}}, "/etc/mhfd.toml")
    environ = {variable: str(in_environment)}
    layers: list[tuple[Config, dict[str, str], dict[str, Any], str]] = [
        (Config(), {}, {}, "default"),
        (told, {}, {}, "/etc/mhfd.toml"),
        (told, environ, {}, variable),
        (told, environ, {key: as_flag}, "flag"),
    ]
    expected = [getattr(Profile(), key), in_file, in_environment, as_flag]
    for (config, variables, flags, origin), value in zip(layers, expected, strict=True):
        settings = resolve(config, None, flags, variables)
        found = getattr(settings.profile, key)
        assert (found.as_posix() if isinstance(found, Path) else found) == value
        assert settings.origins[key] == origin


@settings(deadline=None)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            source: st.fixed_dictionaries(
                {},
                optional={key: st.floats(0.1, 1e5) for key in ("poll_s", "settle_s", "stall_s", "fresh_s")},
            )
            for source in ("file", "environment", "flag")
        },
    )
)
def test_each_key_is_the_first_that_says_something(said: dict[str, dict[str, float]]) -> None:
    config = parse_config({"profile": "a", "profiles": {"a": said.get("file", {})}}, "file")
    environ = {f"MHFD_{key.upper()}": str(value) for key, value in said.get("environment", {}).items()}
    profile = resolve(config, None, said.get("flag", {}), environ).profile
    for key in ("poll_s", "settle_s", "stall_s", "fresh_s"):
        layers = [said.get(source, {}) for source in ("flag", "environment", "file")]
        assert getattr(profile, key) == next((each[key] for each in layers if key in each), getattr(Profile(), key))


def test_which_profile_is_flag_before_environment_before_file() -> None:
    config = parse_config({"profile": "a", "profiles": {"a": {}, "b": {}, "c": {}}}, "file")
    environ = {"MHFD_PROFILE": "b"}
    found = [resolve(config, name, {}, variables) for name, variables in ((None, {}), (None, environ), ("c", environ))]
    assert [(each.name, each.origins["profile"]) for each in found] == [
        ("a", "file"),
        ("b", "MHFD_PROFILE"),
        ("c", "flag"),
    ]


def test_silent_flags_and_empty_variables_say_nothing() -> None:
    settings = resolve(Config(), None, {"poll_s": None, "exclude": ()}, {"MHFD_SETTLE_S": ""})
    assert settings.profile == Profile()


def test_of_the_measure_only_what_the_flag_names_is_replaced() -> None:
    config = parse_config({"profile": "a", "profiles": {"a": {"params": {"n_scales": 8, "k_noise": 4.0}}}})
    assert resolve(config, None, {"params": {"k_noise": 6.0}}, {}).profile.params == {"n_scales": 8, "k_noise": 6.0}


def test_another_layout_leaves_the_pattern_of_the_file_behind() -> None:
    config = parse_config({"profile": "a", "profiles": {"a": {"layout": "regex", "pattern": EXAMPLE_PATTERN}}})
    assert resolve(config, None, {}, {"MHFD_LAYOUT": "plain"}).profile.pattern is None


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("MHFD_SETTLE_S", "soon", "MHFD_SETTLE_S: settle_s: Input should be a valid number"),
        ("MHFD_LAYOUT", "sbem", "MHFD_LAYOUT: layout"),
        ("MHFD_LAYOUT", "regex", 'MHFD_LAYOUT: pattern: layout "regex" needs a pattern'),
        ("MHFD_PATTERN", "(?P<row>1)", "MHFD_PATTERN: pattern: a pattern is for layout"),
        ("MHFD_PROFILE", "tem", "MHFD_PROFILE: there is no profile named 'tem'"),
        ("MHFD_LEDGER", "ftp://host/db", "MHFD_LEDGER: a ledger is a file or"),
    ],
)
def test_a_bad_variable_is_named(variable: str, value: str, told: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(told)):
        resolve(Config(), None, {}, {variable: value})


def test_a_bad_flag_is_named() -> None:
    with pytest.raises(ConfigError, match="--settle-s: settle_s"):
        resolve(Config(), None, {"settle_s": -1}, {"MHFD_POLL_S": "1"})


def test_an_unknown_variable_is_told_of_with_the_nearest() -> None:
    (notice,) = resolve(Config(), None, {}, {"MHFD_SETTLES": "hunter2", "MHFD_BACKEND": "numpy", "HOME": "/"}).notices
    assert "MHFD_SETTLES" in notice
    assert "did you mean 'MHFD_SETTLE_S'" in notice
    assert "hunter2" not in notice


def test_every_variable_that_the_repository_reads_is_known() -> None:
    root = Path(__file__).parents[3]
    folders = [root / name for name in ("functions", "client", "endpoint_configs", "deploy", "examples")]
    suffixes = (".py", ".sh", ".ps1", ".j2", ".yaml", ".ipynb", ".service")
    texts = [
        file.read_text(encoding="utf-8") for each in folders for file in each.rglob("*") if file.suffix in suffixes
    ]
    found = {name for text in texts for name in re.findall(r"\bMHFD_[A-Z_]*[A-Z]\b", text)}
    assert found <= {*OTHER_VARIABLES, *VARIABLES}


# --- The documentation ---------------------------------------------------------------------------------------------

PAGE = Path(__file__).parents[3] / "docs" / "configuration.md"


def tables_of(model: type[Frozen]) -> set[type[Frozen]]:
    inside = [model_in(field.annotation) for field in model.model_fields.values()]
    return {model}.union(*(tables_of(each) for each in inside if each))


def test_every_table_is_described() -> None:
    assert tables_of(Config) == set(TABLES.values())


@pytest.mark.parametrize("model", TABLES.values())
def test_every_key_is_explained_and_has_a_value_to_show(model: type[Frozen]) -> None:
    for key in keys(model):
        assert key.text
        assert key.required or key.example is not None


def test_the_documentation_has_the_tables_of_the_model() -> None:
    assert markdown() in PAGE.read_text(encoding="utf-8"), f"put this into {PAGE.name}:\n{markdown()}"


def test_the_example_of_the_documentation_is_accepted_and_complete(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    (tmp_path / "config.toml").write_text(example, encoding="utf-8")
    config = load_config(tmp_path / "config.toml")
    assert config.profile in config.profiles
    for model in TABLES.values():
        for key in keys(model):
            assert re.search(rf"^(# )?{key.name} = ", example, flags=re.MULTILINE), key.name


def test_importing_the_configuration_is_light() -> None:
    heavy = ("numpy", "scipy", "globus_sdk", "globus_compute_sdk", "watchdog", "psycopg", "http.server")
    code = f"import sys, mhfd_client.config; print([each for each in {heavy} if each in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_variable_in_another_code_page_is_named() -> None:
    with pytest.raises(ConfigError, match="MHFD_LISTEN has bytes that are not UTF-8"):
        resolve(parse_config({"profiles": {"sem": {"folder": "/d"}}}), "sem", environ={"MHFD_LISTEN": "\udcff"})
