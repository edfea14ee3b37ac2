"""Run the loopback until Ctrl-C, for a person to try out: ``python -m loopback [ENDPOINT_FOLDER]``."""

# ruff: noqa: T201

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from loopback.fixtures import missing

if TYPE_CHECKING:
    from loopback.stack import Loopback


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m loopback", description=__doc__)
    arguments.add_argument(
        "endpoint_folder", nargs="?", type=Path, help="run this endpoint instead of the built-in one"
    )
    endpoint_folder = arguments.parse_args().endpoint_folder
    if lack := missing():
        sys.exit(lack)
    from loopback.stack import Loopback

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
    with (
        contextlib.suppress(KeyboardInterrupt),
        tempfile.TemporaryDirectory(prefix="loopback-", ignore_cleanup_errors=True) as folder,
    ):
        print("Starting broker, service and endpoint ...", file=sys.stderr)
        everything = Loopback(Path(folder), endpoint_folder=endpoint_folder)
        try:
            print(instructions(everything, configure(everything)), flush=True)
            while True:
                signal.pause()
        finally:
            everything.stop()


def configure(everything: Loopback) -> Path:
    """A configuration in which the endpoint is called "loopback", with mhfd's functions registered."""
    from mhfd.registry import run_register

    os.environ.update(everything.environment)
    run_register(everything.folder / "functions.json", client=everything.client())
    config = everything.folder / "config.toml"
    config.write_text(f'[endpoints.loopback]\nuuid = "{everything.endpoint_id}"\nfunctions_file = "functions.json"\n')
    return config


def instructions(everything: Loopback, config: Path) -> str:
    """The lines to type in another shell; explanations are comments."""
    exports = {**everything.environment, "MHFD_CONFIG": str(config), "MHFD_ENDPOINT_UUID": everything.endpoint_id}
    return "\n".join(
        [
            "# Set these in another terminal:",
            *(f"export {name}={shlex.quote(value)}" for name, value in exports.items()),
            "# Then, for example: mhfd doctor --endpoint loopback; mhfd score run/ --endpoint loopback",
            "# Faults, for example (loopback/faults.py; {} shows them):",
            f"""# curl {everything.service.url}/faults -d '{{"offline": true}}'""",
            f"# Logs: {everything.folder}. Ctrl-C ends it.",
        ]
    )


if __name__ == "__main__":
    main()
