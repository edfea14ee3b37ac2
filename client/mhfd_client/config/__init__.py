"""Where tiles are scored and how microscopes are watched: a TOML file -> frozen values.

Endpoints and profiles (one for each microscope) are named entries; the endpoint `local` always exists. The file is the
path given, else ``MHFD_CONFIG``, else config.toml in the user's configuration folder (`default_path`). It holds no
secrets: sign-in data is in the environment or in Globus's own store.

Commands that watch call `resolve`, which applies flags and environment to a profile.
"""

from mhfd_client.config.alerts import AlertSettings, EventKind, NotifyEntry
from mhfd_client.config.base import ConfigError, Json, Problem, default_path
from mhfd_client.config.endpoint import (
    CODECS,
    DataMapping,
    GlobusEndpoint,
    Limits,
    LocalEndpoint,
    LocalLimits,
    TransferEntry,
)
from mhfd_client.config.load import load_config, parse_config
from mhfd_client.config.model import Config, ledger_path
from mhfd_client.config.profile import Profile
from mhfd_client.config.settings import Settings, resolve

__all__ = [
    "CODECS",
    "AlertSettings",
    "Config",
    "ConfigError",
    "DataMapping",
    "EventKind",
    "GlobusEndpoint",
    "Json",
    "Limits",
    "LocalEndpoint",
    "LocalLimits",
    "NotifyEntry",
    "Problem",
    "Profile",
    "Settings",
    "TransferEntry",
    "default_path",
    "ledger_path",
    "load_config",
    "parse_config",
    "resolve",
]
