"""`mhfd doctor --bundle`: what it holds, and that no secret is in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from mhfd._version import __version__
from mhfd.contract import FocusParams
from mhfd_client.config import parse_config
from mhfd_client.doctor import Check
from mhfd_client.ledger import SeenFile, open_ledger
from mhfd_client.logs import LOG_NAME
from mhfd_client.upkeep.bundle import LOG_FILES, write_bundle

PERSON = "friederike"
PLANTED = {
    "a password in the environment": "correct-horse-battery",
    "a webhook's URL in the environment": "T0HOOKPATH",
    "an apprise token in the environment": "987654:AAtelegramtoken",
    "a webhook's URL in the configuration": "T1CONFIGPATH",
    "a mail address": "friederike.m@institute.example",
    "a comment of the configuration": "the safe's number is 4711",
    "a value below an unknown key": "swordfish",
    "a Globus token": "Ag" + "Q7w" * 20,
    "a bearer in a log": "b3arerb3arerb3arer",
    "a JSON web token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
    "a person": PERSON,
    "a line of a log that is not JSON": "torn-s3cret-value",
    "a file that is no log": "the pixels of a tile",
}

CONFIG = f"""
# {PLANTED["a comment of the configuration"]}
profile = "m"
ledger = "ledger.db"
[profiles.m]
folder = "run"
log_dir = "logs"
[profiles.m.alerts]
channels = ["ops", "mail", "phone"]
[notify.ops]
kind = "webhook"
url = "https://hooks.example.org/services/{PLANTED["a webhook's URL in the configuration"]}"
secret_variable = "LAB_ANYTHING"
[notify.mail]
kind = "email"
host = "smtp.example.org"
user = "{PLANTED["a mail address"]}"
sender = "{PLANTED["a mail address"]}"
to = ["{PLANTED["a mail address"]}"]
[notify.phone]
kind = "apprise"
url_variable = "LAB_PHONE"
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The home folder of a person, with a configuration, a ledger and logs that hold what must not leave it."""
    home = tmp_path / PERSON
    logs = home / "logs"
    logs.mkdir(parents=True)
    (home / "config.toml").write_text(CONFIG, encoding="utf-8")
    with open_ledger(home / "ledger.db") as ledger:
        run = ledger.open_run(str(home / "run"), FocusParams(), layout="auto", endpoint="local", now=1.0)
        ledger.see(run.run_id, [(SeenFile("s0001_r0_c1.tif", 10, 10), None)], 2.0)
        notices = [{"text": f"asked {PLANTED['a mail address']}", "since": 1.0}]
        ledger.heartbeat(run.run_id, {"pid": 1, "host": "em1", "notices": notices}, 3.0)
    lines = [
        json.dumps({"message": f"told {PLANTED['a mail address']} in {home}", "level": "INFO"}),
        json.dumps({"message": f"Authorization: Bearer {PLANTED['a bearer in a log']}", "fields": {"pw": "swordfish"}}),
        json.dumps({"message": f"{PLANTED['a Globus token']} and {PLANTED['a JSON web token']}"}),
        json.dumps(
            {"message": f"POST https://hooks.example.org/{PLANTED['a webhook' + chr(39) + 's URL in the environment']}"}
        ),
        f'{{"message": "token={PLANTED["a line of a log that is not JSON"]}',
    ]
    (logs / "mhfd-2026-11-23.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (logs / "s0001_r0_c1.tif").write_text(PLANTED["a file that is no log"])
    (logs / "mhfd-2026-11-24.jsonl").symlink_to(logs / "s0001_r0_c1.tif")
    return home


def bundled(home: Path, *more: str) -> tuple[dict[str, str], str]:
    """The files of a bundle that the command writes, as this person; and what it prints."""
    environment = {
        **os.environ, "HOME": str(home), "USERPROFILE": str(home), "USER": PERSON, "LOGNAME": PERSON,
        "MHFD_CONFIG": str(home / "config.toml"),
        "LAB_ANYTHING": PLANTED["a password in the environment"],
        "LAB_PHONE": f"tgram://{PLANTED['an apprise token in the environment']}/5",
        "LAB_HOOK_TOKEN": f"https://hooks.example.org/{PLANTED['a webhook' + chr(39) + 's URL in the environment']}",
    }  # fmt: skip
    target = home / "help.zip"
    done = subprocess.run(
        [sys.executable, "-m", "mhfd_client", "doctor", "--bundle", str(target), *more],
        env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    with zipfile.ZipFile(target) as bundle:
        assert bundle.testzip() is None
        return {name: bundle.read(name).decode() for name in bundle.namelist()}, done.stdout + done.stderr


def test_no_secret_is_in_a_bundle_and_it_holds_what_a_helper_needs(home: Path) -> None:
    files, said = bundled(home)
    for name, text in files.items():
        for kind, secret in PLANTED.items():
            assert secret.lower() not in (name + text).lower(), f"{kind} is in {name}"
    assert "Look through it before you send it" in said
    assert all(f"  {name} (" in said for name in files), said
    told = {name: json.loads(text) for name, text in files.items() if name.endswith(".json")}
    assert told["machine.json"]["mhfd"] == __version__
    assert {"folder", "free_bytes", "total_bytes"} <= set(told["machine.json"]["disks"][0])
    assert told["packages.json"]["numpy"]
    assert "LAB_PHONE" in told["environment.json"]
    assert told["config.json"]["content"]["notify"]["ops"]["url"] == "https://hooks.example.org/***"
    (run,) = told["ledger.json"]["runs"]
    assert run["counts"] == {"seen": 1} and run["folder"].startswith("~")
    assert told["ledger.json"]["tables_version"] > 0
    assert {check["name"] for check in told["doctor.json"]} >= {"Python", "probe tile"}
    assert len(files["logs/1/mhfd-2026-11-23.jsonl"].splitlines()) == 5
    assert len(files) == 7  # a link among the logs is not followed


def test_a_configuration_that_cannot_be_read_is_told_in_the_bundle(home: Path) -> None:
    with (home / "config.toml").open("a") as file:
        file.write('[profiles.m.alert]\npw = "swordfish"\n')
    files, _ = bundled(home)
    assert "unknown key" in files["doctor.json"]
    assert "swordfish" not in "".join(files.values())


def test_a_ledger_that_cannot_be_read_does_not_end_the_bundle(home: Path) -> None:
    (home / "ledger.db").write_bytes(b"not a database at all" * 100)
    files, _ = bundled(home)
    assert "is not a ledger" in json.loads(files["ledger.json"])["error"]
    assert json.loads(files["packages.json"])


def test_only_the_newest_logs_are_taken(tmp_path: Path) -> None:
    for day in range(1, 20):
        (tmp_path / f"mhfd-2026-11-{day:02}.jsonl").write_text("{}\n")
    config = parse_config({"profiles": {"m": {"log_dir": str(tmp_path)}}, "ledger": str(tmp_path / "none.db")})
    entries = write_bundle(tmp_path / "b.zip", config, None, [Check("x", "PASS", "y")])
    logs = [Path(entry.name).name for entry in entries if LOG_NAME.fullmatch(Path(entry.name).name)]
    assert logs == [f"mhfd-2026-11-{day:02}.jsonl" for day in range(20 - LOG_FILES, 20)]
