"""Image formats of microscopes that mhfd does not read: files of these are told, not passed over in silence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from mhfd.readers.opening import has_image_suffix
from mhfd.text import counted

FOREIGN_SUFFIXES = frozenset((
    ".eer", ".tvips",  # cryo-EM
    ".dm3", ".dm4", ".ser", ".emi", ".emd", ".raw",  # Gatan, FEI/Thermo, cameras
    ".hdf5", ".h5", ".hspy", ".ims", ".jp2",
    ".czi", ".nd2", ".lif", ".oib", ".oif", ".vsi",  # light microscopes
))  # fmt: skip


def foreign_suffix(name: str) -> str | None:
    """The suffix, in lower case, of a file in a format that mhfd does not read; None for any other."""
    suffix = name[name.rfind(".") :].lower() if "." in name and not name.startswith(".") else ""
    return suffix if suffix in FOREIGN_SUFFIXES and not has_image_suffix(suffix) else None


def in_words(found: Mapping[str, int]) -> str:
    """A sentence about such files, counted by suffix."""
    most_first = [suffix for suffix, _ in Counter(found).most_common()]
    files = counted(sum(found.values()), "file", "files")
    return f"{files} of formats that mhfd does not read ({', '.join(most_first)}): export them as TIFF"
