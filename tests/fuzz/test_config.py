"""Configurations of any shape: used, or refused with what to change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mhfd_client.config import Config, ConfigError, Profile, load_config, parse_config, resolve

from .drawing import changed, damaged, fuzzed, json_values, texts

ENDPOINT = {"uuid": "6c54cade-bde5-45c1-bdea-f4bd71dba2cc", "functions": {}, "codec": "raw"}
PROFILE = {"folder": "/data", "endpoint": "dgx", "layout": "auto", "fallback": "local", "settle_s": 1.0, "poll_s": 8}
TEXT = b"""
[endpoints.dgx]
uuid = "6c54cade-bde5-45c1-bdea-f4bd71dba2cc"

[profiles.sem]
folder = "/data"
endpoint = "dgx"
settle_s = 1.5
"""


@fuzzed
@given(endpoint=changed(ENDPOINT) | json_values, profile=changed(PROFILE) | json_values, more=json_values)
def test_values_of_any_kind_are_taken_or_explained(endpoint: Any, profile: Any, more: Any) -> None:
    told({"endpoints": {"dgx": endpoint}, "profiles": {"sem": profile}})
    told({"endpoints": more, "profiles": {"sem": profile}})
    told(more if isinstance(more, dict) else {"more": more})


def told(given: dict[str, Any]) -> Config | None:
    try:
        return parse_config(given)
    except ConfigError as error:
        assert str(error)
        return None


@fuzzed
@given(content=damaged([TEXT]))
def test_a_damaged_file_is_read_or_explained(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(content)
    try:
        load_config(path)
    except ConfigError as error:
        assert str(error)


@fuzzed
@given(key=st.sampled_from(sorted(Profile.model_fields)), text=texts)
def test_variables_of_any_text_are_taken_or_explained(key: str, text: str) -> None:
    config = parse_config({"profiles": {"sem": {"folder": "/data"}}})
    try:
        resolve(config, "sem", {}, environ={f"MHFD_{key.upper()}": text})
    except ConfigError as error:
        assert str(error)
