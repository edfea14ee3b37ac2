"""Checks of a configuration that has been read: its names and folders, without the network."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from mhfd.contract import MhfdError
from mhfd.text import nearest
from mhfd_client.config.base import ConfigError, Problem
from mhfd_client.config.load import line_of, read_text
from mhfd_client.config.model import Config
from mhfd_client.config.profile import Profile
from mhfd_client.config.settings import VARIABLES, Settings
from mhfd_client.files.names import is_image_name

LOOKED_AT = 2000
"""Images in a folder to compare with a layout, at most."""


@dataclass(frozen=True)
class Finding:
    """A problem; fatal if nothing can work until it is fixed."""

    problem: Problem
    fatal: bool


def examine(config: Config) -> list[Finding]:
    """All mistakes and doubtful settings, with their lines in the file if any."""
    found = [*((each, True) for each in _mistakes(config)), *((each, False) for each in _doubts(config))]
    text = read_text(Path(config.source)) if found and config.source else ""
    return [Finding(replace(each, line=line_of(text, each.place)), fatal) for each, fatal in found]


def examine_environment(config: Config, settings: Settings) -> list[Finding]:
    """Mistakes and doubtful settings in the variables of the environment that have taken effect."""
    found = [Finding(Problem((), notice), fatal=False) for notice in settings.notices]
    variable, endpoint = settings.origins["endpoint"], settings.profile.endpoint
    if variable in VARIABLES and config.entry(endpoint) is None:
        hint = nearest(endpoint, config.names)
        found.append(Finding(Problem((), f"{variable}: there is no endpoint '{endpoint}'; {hint}"), fatal=True))
    return found


def _mistakes(config: Config) -> Iterator[Problem]:
    """Profiles with an unknown endpoint or channel."""
    for name, profile in config.profiles.items():
        if config.entry(profile.endpoint) is None:
            place = ("profiles", name, "endpoint")
            hint = nearest(profile.endpoint, config.names)
            yield Problem(place, f"{'.'.join(place)}: there is no endpoint '{profile.endpoint}'; {hint}")
        for channel in profile.alerts.channels:
            if channel not in config.notify:
                where = ("profiles", name, "alerts", "channels")
                hint = nearest(channel, config.notify) if config.notify else "add it"
                yield Problem(where, f"{'.'.join(where)}: there is no [notify.{channel}]; {hint}")


def _doubts(config: Config) -> Iterator[Problem]:
    """Settings that are probably wrong, or not ready yet."""
    yield from _without_functions(config)
    for name, profile in config.profiles.items():
        if profile.folder is not None:
            yield from _folder_of(("profiles", name), profile, profile.folder)
    for name, entry in config.endpoints.items():
        mapped = [("data", each.local_root) for each in entry.data]
        if entry.transfer:
            mapped.append(("transfer", entry.transfer.local_root))
        for table, folder in mapped:
            if folder is not None and not folder.is_dir():
                place = ("endpoints", name, table, "local_root")
                yield Problem(place, f"{'.'.join(place)}: there is no folder {folder}")


def _without_functions(config: Config) -> Iterator[Problem]:
    for name in config.endpoints:
        if why := _refusal(config, name):
            yield Problem(("endpoints", name), f"endpoints.{name}: {why}")


def _refusal(config: Config, endpoint: str) -> str | None:
    try:
        config.endpoint(endpoint)
    except ConfigError as error:
        return str(error)
    return None


def _folder_of(place: tuple[str, ...], profile: Profile, folder: Path) -> Iterator[Problem]:
    where = ".".join(place)
    if not folder.is_dir():
        yield Problem((*place, "folder"), f"{where}.folder: there is no folder {folder}")
        return
    from mhfd_client.naming import open_layout

    images = list(islice(_images(folder), LOOKED_AT))
    try:
        layout = open_layout(profile.layout, root=folder, pattern=profile.pattern)
        matched = any(layout.position(image) is not None for image in images)
    except MhfdError as error:
        yield Problem((*place, "layout"), f"{where}.layout: {error}")
        return
    if images and not matched:
        yield Problem(
            (*place, "pattern" if profile.pattern else "layout"),
            f'{where}.layout: "{profile.layout}" matches none of the {len(images)} images checked in {folder}, such as '
            f"{images[0]}",
        )


def _images(folder: Path) -> Iterator[str]:
    """Images below a folder: relative paths with slashes."""
    for parent, _, files in os.walk(folder):
        for file in files:
            if is_image_name(file):
                yield Path(parent, file).relative_to(folder).as_posix()
