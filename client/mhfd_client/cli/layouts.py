"""The option of a layout of file names."""

from __future__ import annotations

from typing import Any, get_args

import click

from mhfd_client.cli.names import OneOf
from mhfd_client.naming.added import names as added_names
from mhfd_client.naming.protocol import LayoutName


class LayoutChoice(OneOf):
    """One of our layouts, or one that another package adds: packages are looked through only for a name beyond ours."""

    def __init__(self) -> None:
        super().__init__(get_args(LayoutName))

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value not in self.choices and value in added_names():
            return value
        return super().convert(value, param, ctx)


layout_option = click.option("--layout", type=LayoutChoice(), help="Layout of the file names.  [default: auto]")
