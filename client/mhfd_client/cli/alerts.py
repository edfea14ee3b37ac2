"""`mhfd alerts`: what happened to a run, who was told, who has seen it; and a test of the channels."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mhfd.contract import ExitCode
from mhfd_client.cli.options import example, format_option, opened_ledger, print_listing, say
from mhfd_client.cli.tiles import run_options

if TYPE_CHECKING:
    from mhfd_client.ledger import Delivery, Json, Ledger, Run
    from mhfd_client.views.listing import Form, Listing

RECENT = 20


@click.command(epilog=example("mhfd alerts run", "mhfd alerts run --ack 3 --by ana"))
@run_options
@click.option("--ack", "number", type=click.IntRange(min=1), help="Say that you have seen event N: it is silent then.")
@click.option("--by", "who", metavar="NAME", help="With --ack: who you are.")
@click.option("--test", "is_test", is_flag=True, help="Send a test message on each channel of the configuration.")
@click.option("--all", "show_all", is_flag=True, help=f"List every event, not the last {RECENT}.")
@format_option("table", "json", "jsonl", "csv")
def alerts(
    folder: Path | None,
    where: str | None,
    config_file: Path | None,
    number: int | None,
    who: str | None,
    is_test: bool,
    show_all: bool,
    form: Form,
) -> None:
    """List the events of the run in folder DIR, by default of the run opened last: those that last first.

    Tiles to look at are in `mhfd status` and `mhfd retakes`. Exit code: 0; 69 the ledger is out of reach, 75 --test: a
    message did not arrive, 78 there is no such run or event, or no channel to test.
    """
    if who is not None and number is None:
        raise click.UsageError("--by belongs to --ack: say which event, `mhfd alerts --ack 3 --by ana`")
    if is_test:
        _test(config_file, form)
        return
    from mhfd_client.views.alerts import seen_by

    with opened_ledger(where, config_file, readonly=number is None) as ledger:
        run = ledger.find_run(None if folder is None else str(folder))
        if number is not None:
            event = ledger.acknowledge(run.run_id, number, who, time.time())
            if form == "table":
                say(f"event {event.event_id} is acknowledged{seen_by(event)}")
                return
        found = _listing(ledger, run, limit=None if show_all else RECENT)
    print_listing(found, form)
    if form == "table" and not any(found.lines()):
        say(f"nothing has happened to {run.root} yet", err=True)


def _listing(ledger: Ledger, run: Run, *, limit: int | None) -> Listing:
    from mhfd_client.views.alerts import listing

    lasting = ledger.events(run.run_id, open_only=True)
    over = [event for event in ledger.events(run.run_id, limit=limit) if event.ended_at is not None]
    messages: dict[int, list[Delivery]] = {}
    for each in ledger.deliveries(run.run_id):
        messages.setdefault(each.event_id, []).append(each)
    return listing(run, [*lasting, *over], messages)


def _test(config_file: Path | None, form: Form) -> None:
    """One message on every channel; the first failure does not keep the others from being tried."""
    from mhfd_client.config import ConfigError, load_config
    from mhfd_client.config.base import default_path
    from mhfd_client.notify.opening import open_channels
    from mhfd_client.notify.protocol import NotSentError
    from mhfd_client.notify.words import trial_message
    from mhfd_client.views.listing import Listing

    config = load_config(config_file)
    if not config.notify:
        raise ConfigError(f"{config.source or default_path()} has no channel: add a table [notify.NAME]")
    tried: list[Json] = []

    def each_tried() -> Iterator[Json]:
        for channel in open_channels(config, config.notify):
            error = None
            try:
                channel.send(trial_message(channel.name))
            except NotSentError as refused:
                error = str(refused)
            tried.append({"name": channel.name, "error": error})
            yield tried[-1]

    print_listing(
        Listing(
            each_tried(),
            columns=("name", "error"),
            lines=lambda: (f"{each['name']}: {each['error'] or 'sent'}" for each in each_tried()),
            whole=lambda channels: {"schema": 1, "channels": channels},
        ),
        form,
    )
    if any(each["error"] for each in tried):
        click.get_current_context().exit(ExitCode.TEMPORARY)
