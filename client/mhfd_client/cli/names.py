"""Names on the command line: a mistyped one is answered with the nearest, and a shell can complete them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from mhfd.contract import MhfdError
from mhfd.text import near_name, nearest

if TYPE_CHECKING:
    from mhfd_client.config import Config

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


class Group(click.Group):
    """A group of commands that names the nearest to one that it lacks."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if not ctx.resilient_parsing and not name.startswith("-") and self.get_command(ctx, name) is None:
            ctx.fail(f"No such command '{name}'; {nearest(name, self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)


class OneOf(click.Choice[str]):
    """One of a few names; the nearest is named where it is none of them."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            near = near_name(str(value), map(str, self.choices))
            error.message += f" Did you mean '{near}'?" if near else ""
            raise


def completed(names: Callable[[Config], list[str]]) -> Complete:
    """Completes names that are in the configuration; none where that cannot be read.

    Parameters
    ----------
    names : takes them from it
    """

    def complete(ctx: click.Context, param: click.Parameter, begun: str) -> list[CompletionItem]:
        from mhfd_client.config import load_config

        try:
            known = names(load_config(ctx.params.get("config_file")))
        except MhfdError:
            return []
        return [CompletionItem(name) for name in known if name.startswith(begun)]

    return complete


complete_endpoint = completed(lambda config: list(config.names))
complete_profile = completed(lambda config: list(config.profiles))
