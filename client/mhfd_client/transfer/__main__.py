"""Sign in for transfers, and check that both collections can be used: ``python -m mhfd_client.transfer ENDPOINT``."""

# ruff: noqa: T201

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mhfd.contract import MhfdError
from mhfd.text import visible
from mhfd_client.config import load_config
from mhfd_client.transfer.opening import open_transfer


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m mhfd_client.transfer", description=__doc__)
    parser.add_argument("endpoint", help="its name in the configuration, or its UUID")
    parser.add_argument("root", nargs="?", type=Path, help="the run's folder, if no local_root is configured")
    given = parser.parse_args()
    try:
        transfer = open_transfer(load_config().endpoint(given.endpoint), root=given.root or Path.home(), run="sign-in")
        transfer.connect(interactive=True)
        transfer.close()
    except MhfdError as error:
        print(visible(str(error)), file=sys.stderr)
        return error.exit_code
    print(visible(f"Ready: tiles go to {given.endpoint} by '{transfer.name}'."))
    return 0


if __name__ == "__main__":
    sys.exit(main())
