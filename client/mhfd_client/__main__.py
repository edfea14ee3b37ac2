"""`python -m mhfd_client` is `mhfd`."""

from mhfd_client.cli import main

main()
