"""Where tiles are scored and how microscopes are watched: a TOML file -> frozen values.

Endpoints are named entries, of which `local` always exists; so are profiles, one a microscope. Looked for at the path
given, else in ``MHFD_CONFIG``, else as config.toml in the user's configuration folder (`default_path`). Nothing secret
belongs in it: sign-in data is in the environment or in Globus's own store.

A command line that watches calls `resolve`, which works flags and environment into a profile.
"""

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
    "Config",
    "ConfigError",
    "DataMapping",
    "GlobusEndpoint",
    "Json",
    "Limits",
    "LocalEndpoint",
    "LocalLimits",
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
