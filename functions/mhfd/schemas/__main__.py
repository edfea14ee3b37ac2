"""Write the schemas into a folder: `python -m mhfd.schemas FOLDER`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from mhfd.schemas.make import schemas


def main(arguments: list[str]) -> None:
    """Write a file a schema."""
    if len(arguments) != 1:
        sys.exit("name the folder that takes the schemas: python -m mhfd.schemas FOLDER")
    folder, made = Path(arguments[0]), schemas()
    folder.mkdir(parents=True, exist_ok=True)
    for name, schema in made.items():
        (folder / f"{name}.json").write_text(json.dumps(schema, indent=2) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
