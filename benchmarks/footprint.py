"""How much disk an installation takes, package by package, for one or more sets of extras.

    python benchmarks/footprint.py [--extras "" --extras globus --extras codecs,cpu] [--out footprint.csv]

Each set is installed from this checkout into an environment of its own, without compiled .pyc files, as pip finds the
packages today: it needs an index of packages, or the network. Sizes are those of the files that each package lists as
its own, in MB of 10^6 bytes; pip itself is not counted.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
SETS = ["", "globus", "codecs,cpu", "codecs,cpu,globus"]
SHOWN = 6
LIST = """
import json
from importlib.metadata import distributions
print(json.dumps({
    each.name: sum(file.locate().stat().st_size for file in each.files or () if file.locate().is_file())
    for each in distributions() if each.name not in ("pip", "setuptools", "wheel")
}))
"""


def sizes(extras: str, folder: Path) -> dict[str, int]:
    """Bytes of each package of an installation with these extras, the largest first."""
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    wanted = f"{ROOT}[{extras}]" if extras else str(ROOT)
    install = [python, "-m", "pip", "install", "--quiet", "--no-compile", "--disable-pip-version-check", wanted]
    subprocess.run(install, check=True)
    found = json.loads(subprocess.run([python, "-c", LIST], check=True, capture_output=True, text=True).stdout)
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--extras", action="append", help="separated by commas; may be given again")
    parser.add_argument("--out", type=Path, help="CSV of all packages")
    given = parser.parse_args()
    rows = []
    print("| extras | packages | MB | the largest |\n|---|---|---|---|")
    for extras in given.extras if given.extras is not None else SETS:
        with tempfile.TemporaryDirectory() as folder:
            found = sizes(extras, Path(folder) / "venv")
        largest = ", ".join(f"{name} {size / 1e6:.0f}" for name, size in list(found.items())[:SHOWN])
        print(f"| {extras or 'none'} | {len(found)} | {sum(found.values()) / 1e6:.0f} | {largest} |", flush=True)
        rows += [{"extras": extras, "package": name, "bytes": size} for name, size in found.items()]
    if given.out:
        with given.out.open("w", newline="") as file:
            writer = csv.DictWriter(file, ["extras", "package", "bytes"])
            writer.writeheader()
            writer.writerows(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
