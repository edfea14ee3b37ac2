"""`mhfd alerts`: what happened to a run, who was told, who has seen it; and a test of the channels."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mhfd.contract import ExitCode
from mhfd_client.cli.options import opened_ledger, say
from mhfd_client.cli.tiles import run_options

if TYPE_CHECKING:
    from mhfd_client.ledger import Delivery, Event, Json, Ledger, Run

RECENT = 20


@click.command()
@run_options
@click.option("--ack", "number", type=click.IntRange(min=1), help="Say that you have seen event N: it is silent then.")
@click.option("--by", "who", metavar="NAME", help="With --ack: who you are.")
@click.option("--test", "is_test", is_flag=True, help="Send a test message on each channel of the configuration.")
@click.option("--all", "show_all", is_flag=True, help=f"List every event, not the last {RECENT}.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object and nothing else.")
def alerts(
    folder: Path | None,
    where: str | None,
    config_file: Path | None,
    number: int | None,
    who: str | None,
    is_test: bool,
    show_all: bool,
    as_json: bool,
) -> None:
    """List the events of the run in folder DIR, by default of the run opened last: those that last first.

    Tiles to look at are in `mhfd status` and `mhfd retakes`. Exit code: 0; 69 the ledger is out of reach, 75 --test: a
    message did not arrive, 78 there is no such run or event, or no channel to test.
    """
    if who is not None and number is None:
        raise click.UsageError("--by belongs to --ack: say which event, `mhfd alerts --ack 3 --by ana`")
    if is_test:
        _test(config_file, as_json=as_json)
        return
    with opened_ledger(where, config_file, readonly=number is None) as ledger:
        run = ledger.find_run(None if folder is None else str(folder))
        if number is not None:
            event = ledger.acknowledge(run.run_id, number, who, time.time())
            if not as_json:
                say(f"event {event.event_id} is acknowledged{_by(event)}")
                return
        _list(ledger, run, limit=None if show_all else RECENT, as_json=as_json)


def _list(ledger: Ledger, run: Run, *, limit: int | None, as_json: bool) -> None:
    from mhfd_client.views import terminal

    lasting = ledger.events(run.run_id, open_only=True)
    over = [event for event in ledger.events(run.run_id, limit=limit) if event.ended_at is not None]
    events = [*lasting, *over]
    messages: dict[int, list[Delivery]] = {event.event_id: [] for event in events}
    for each in ledger.deliveries(run.run_id):
        if each.event_id in messages:
            messages[each.event_id].append(each)
    if as_json:
        found = [_as_json(event, messages[event.event_id]) for event in events]
        terminal.print_plain({"schema": 1, "run": {"run_id": run.run_id, "folder": run.root}, "events": found})
        return
    for event in events:
        for line in _lines(event, messages[event.event_id]):
            say(line)
    if not events:
        say(f"nothing has happened to {run.root} yet", err=True)


def _lines(event: Event, messages: list[Delivery]) -> list[str]:
    from mhfd_client.notify.words import in_words
    from mhfd_client.views.status import local, utc

    until = f" to {local(utc(event.ended_at))}" if event.ended_at is not None else ", lasts"
    told = [f"  {_fate(each)}" for each in messages]
    return [f"{event.event_id:>4}  {in_words(event)} ({local(utc(event.began_at))}{until}{_by(event)})", *told]


def _by(event: Event) -> str:
    if event.acknowledged_at is None:
        return ""
    return f", seen by {event.acknowledged_by}" if event.acknowledged_by else ", seen"


def _fate(message: Delivery) -> str:
    from mhfd_client.views.status import local, utc

    if message.sent_at is None:
        why = f", {message.attempts} attempts: {message.error}" if message.error else ""
        return f"      {message.about}: {message.channel}: waits{why}"
    return f"      {message.about}: {message.channel}: {message.error or 'sent ' + local(utc(message.sent_at))}"


def _as_json(event: Event, messages: list[Delivery]) -> Json:
    from mhfd_client.notify.words import as_json
    from mhfd_client.views.status import utc

    return {
        **as_json(event),
        "began_at": utc(event.began_at),
        "ended_at": utc(event.ended_at),
        "acknowledged_at": utc(event.acknowledged_at),
        "messages": [
            {
                "about": each.about,
                "channel": each.channel,
                "attempts": each.attempts,
                "sent_at": utc(each.sent_at),
                "error": each.error,
            }
            for each in messages
        ],
    }


def _test(config_file: Path | None, *, as_json: bool) -> None:
    """One message on every channel; the first failure does not keep the others from being tried."""
    from mhfd_client.config import ConfigError, load_config
    from mhfd_client.config.base import default_path
    from mhfd_client.notify.opening import open_channels
    from mhfd_client.notify.protocol import NotSentError
    from mhfd_client.notify.words import trial_message
    from mhfd_client.views import terminal

    config = load_config(config_file)
    if not config.notify:
        raise ConfigError(f"{config.source or default_path()} has no channel: add a table [notify.NAME]")
    failures: dict[str, str | None] = {}
    for channel in open_channels(config, config.notify):
        try:
            channel.send(trial_message(channel.name))
        except NotSentError as error:
            failures[channel.name] = str(error)
        else:
            failures[channel.name] = None
        if not as_json:
            say(f"{channel.name}: {failures[channel.name] or 'sent'}")
    if as_json:
        terminal.print_plain({"schema": 1, "channels": [{"name": name, "error": failures[name]} for name in failures]})
    if any(failures.values()):
        click.get_current_context().exit(ExitCode.TEMPORARY)
