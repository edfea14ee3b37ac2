"""Another version of mhfd: a copy of this one with another number."""

from __future__ import annotations

import shutil
from pathlib import Path

ROOT = Path(__file__).parents[1]
OTHER = "0.99.0"


def write_other_version(folder: Path) -> Path:
    """Write its packages; the folder goes into PYTHONPATH."""
    for name in ("functions/mhfd", "client/mhfd_client"):
        shutil.copytree(ROOT / name, folder / Path(name).name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "mhfd" / "_version.py").write_text(f'__version__ = "{OTHER}"\n')
    return folder
