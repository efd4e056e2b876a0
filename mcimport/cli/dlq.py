"""`mcimport dlq`: lists, shows, discards and replays dead letters."""

from __future__ import annotations

from typing import Annotated

import typer

from mcimport.cli.confirm import ask, check_terminal, confirm
from mcimport.cli.exits import OK
from mcimport.cli.options import CLIENTS, ENGINE, LARGEST_ID, LOG_FORMAT, NOTHING_YET, VERBOSE, LogFormat, load_settings
from mcimport.cli.output import say, set_log_format
from mcimport.errors import ConfigError
from mcimport.models.records import HANDFUL, Affected, affected
from mcimport.report.dead_letters import COLUMNS, document, facts, row
from mcimport.report.format import dead_letters, pluralize

MOST_LISTED = 1000

app = typer.Typer(help="Dead letters: members and time ranges that could not be imported.", no_args_is_help=True)


@app.command("list")
def list_letters(
    context: typer.Context,
    *,
    client: CLIENTS = None,
    everything: Annotated[bool, typer.Option("--all", help="Include closed ones.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON line per dead letter.")] = False,
) -> None:
    """Lists open dead letters, oldest first; those of an earlier Ometria key or collection are marked."""
    from mcimport.cli import read_state  # noqa: PLC0415 - other commands start without SQLite and rich
    from mcimport.state import dead_letters  # noqa: PLC0415 - as above

    settings = load_settings(context)
    with read_state.open_if_exists(settings) as state:
        if state is None:
            return
        status = None if everything else "open"
        found = dead_letters.search(state, status=status, clients=client or (), limit=MOST_LISTED + 1)
        list_statuses = read_state.list_statuses(settings, state)
    if not found:
        settings.chosen(client or [])
    if len(found) > MOST_LISTED:
        say(f"more than {pluralize(MOST_LISTED, 'dead letter')}: the oldest {MOST_LISTED:,} are shown")
    listed = [(letter, list_statuses[letter.list_id]) for letter in found[:MOST_LISTED]]
    if json:
        read_state.write_json(document(letter, list_status) for letter, list_status in listed)
    else:
        read_state.write_table(COLUMNS, [row(letter, list_status) for letter, list_status in listed])
        if not listed:
            say("no dead letters" if everything else "no open dead letters")


@app.command("show")
def show_letter(
    context: typer.Context,
    letter_id: Annotated[int, typer.Argument(metavar="ID", min=1, max=LARGEST_ID)],
    *,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON line.")] = False,
) -> None:
    """Shows one dead letter: what, when, why, how often, and how to fix it."""
    from mcimport.cli import read_state  # noqa: PLC0415 - other commands start without SQLite and rich

    settings = load_settings(context)
    with read_state.open_if_exists(settings) as state:
        (letter,) = read_state.find_letters(state, [letter_id])
        list_status = read_state.list_statuses(settings, state)[letter.list_id] if state else ""
    if json:
        read_state.write_json([document(letter, list_status)])
    else:
        read_state.write_facts(facts(letter, list_status))


@app.command("discard")
def discard_letters(
    context: typer.Context,
    letter_ids: Annotated[list[int], typer.Argument(metavar="ID...", min=1, max=LARGEST_ID)],
    *,
    yes: Annotated[
        bool,
        typer.Option("--yes", help=f"Do not ask for confirmation; for more than {HANDFUL} members, add --members."),
    ] = False,
    members: Annotated[
        str | None,
        typer.Option(
            metavar="N", help="Number of members that these dead letters are about, as confirmation; or `unknown`."
        ),
    ] = None,
) -> None:
    """Closes dead letters for good: their members are not imported unless they change in Mailchimp."""
    from mcimport.cli import read_state  # noqa: PLC0415 - other commands start without SQLite and rich
    from mcimport.state.dead_letters import close  # noqa: PLC0415 - as above

    with read_state.open_if_exists(load_settings(context)) as state:
        chosen = list(read_state.find_letters(state, letter_ids))
        for letter in chosen:
            if letter.status != "open":
                say(f"dead letter {letter.id} is already closed: {letter.status}")
        still_open = [letter for letter in chosen if letter.status == "open"]
        found = affected(still_open)
        if state is None or not still_open or not is_confirmed(found, yes=yes, members=members):
            say("nothing was discarded")
            return
        close(state, "discarded", [letter.id for letter in still_open])
    say(f"{dead_letters(found)} discarded")


@app.command("replay")
def replay_letters(
    context: typer.Context,
    letter_ids: Annotated[
        list[int] | None, typer.Argument(metavar="[ID]...", min=1, max=LARGEST_ID, show_default=False)
    ] = None,
    *,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON line per list on standard output.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show only errors.")] = False,
    engine: ENGINE = None,
    verbose: VERBOSE = False,
    log_format: LOG_FORMAT = LogFormat.TEXT,
) -> int:
    """Imports the members and time ranges of dead letters again; without ID, all that are open."""
    from mcimport.cli.run_command import Output, run_session  # noqa: PLC0415 - loads the HTTP client; other commands start without it
    from mcimport.engine import engine_of  # noqa: PLC0415 - as below
    from mcimport.state import state_exists  # noqa: PLC0415 - as below
    from mcimport.sync.replay import replay_all  # noqa: PLC0415 - as below

    log = set_log_format(log_format)
    settings = load_settings(context)
    if not letter_ids and not state_exists(settings.db_path):
        say(NOTHING_YET)
        return OK
    output = Output(json, quiet, verbose=verbose, log=log, engine=engine_of(settings, engine))
    nothing = "no open dead letters for the current Ometria accounts; `mcimport dlq list` shows all"
    clients = list(settings.clients.values())
    return run_session(
        lambda session: replay_all(clients, letter_ids or [], session), settings, output, by_name=True, nothing=nothing
    )


def is_confirmed(found: Affected, *, yes: bool, members: str | None) -> bool:
    """Returns whether these dead letters are to be discarded by a person who knows how many members they are about.

    Asks at the terminal unless the options say it. Raises ConfigError where there is no terminal, and for a number that
    is not that of the dead letters.
    """
    number = "unknown" if found.unknown else str(found.members)
    confirmed = f"--yes --members {number}" if found.is_many else "--yes"
    hint = f"Discard without being asked: `mcimport dlq discard {confirmed} ID...`"
    if members is not None and _normalized(members) != number:
        raise ConfigError(f"--members {members} is not the number of members: {dead_letters(found)}", hint=hint)
    if yes and (members is not None or not found.is_many):
        return True
    if yes:
        raise ConfigError(f"--yes alone is not enough to discard {dead_letters(found)}", hint=hint)
    check_terminal(f"cannot ask whether to discard {dead_letters(found)}", hint=hint)
    question = f"Discard {dead_letters(found)} for good?"
    if found.is_many:
        return _normalized(ask(f"{question} Type {number} to discard:")) == number
    return confirm(question)


def _normalized(typed: str) -> str:
    return typed.strip().lower().replace(",", "")
