"""`mcimport dlq`: lists, shows, discards and replays dead letters."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from mcimport.cli import completion
from mcimport.cli.confirm import ask, check_terminal, confirm
from mcimport.cli.exits import OK
from mcimport.cli.help import LineGroup, PlainCommand, epilog
from mcimport.cli.letter_ids import find_letters, parse_ids
from mcimport.cli.options import CLIENTS, ENGINE, LOG_FORMAT, VERBOSE, load_settings, no_state_file
from mcimport.cli.output import LogFormat, ignore_broken_pipe, say, set_log_format, warn
from mcimport.config import Settings
from mcimport.errors import ConfigError
from mcimport.models.records import HANDFUL, Affected, DeadLetter, affected
from mcimport.report.dead_letters import COLUMNS, document, facts, row
from mcimport.report.format import dead_letters, pluralize

if TYPE_CHECKING:  # other commands start without SQLite
    from mcimport.state import State

MOST_LISTED = 1000

_IDS = "Ids of dead letters; 3-10 is a range."
CLIENT_LETTERS = Annotated[
    list[str] | None,
    typer.Option(
        "--client",
        metavar="NAME",
        help="All open dead letters of this client; repeatable.",
        autocompletion=completion.clients,
    ),
]

app = typer.Typer(
    cls=LineGroup, help="Dead letters: members and time ranges that could not be imported.", no_args_is_help=True
)


@app.command("list", cls=PlainCommand, epilog=epilog("dlq list"))
def list_letters(
    context: typer.Context,
    *,
    client: CLIENTS = None,
    everything: Annotated[bool, typer.Option("--all", help="Include closed ones.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON line per dead letter.")] = False,
) -> None:
    """Lists open dead letters, oldest first; those of an earlier key, address or collection are marked."""
    from mcimport.cli import read_state  # noqa: PLC0415 - other commands start without SQLite and rich
    from mcimport.state import dead_letters  # noqa: PLC0415 - as above

    settings = load_settings(context)
    with read_state.open_if_exists(settings) as state:
        if state is None:
            settings.chosen(client or [])
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


@app.command("show", cls=PlainCommand, epilog=epilog("dlq show"))
def show_letter(
    context: typer.Context,
    letter_ids: Annotated[list[str], typer.Argument(metavar="ID", help=_IDS, autocompletion=completion.letters)],
    *,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON line per dead letter.")] = False,
) -> None:
    """Shows dead letters one by one: what, when, why, how often, and how to fix it."""
    from mcimport.cli import read_state  # noqa: PLC0415 - other commands start without SQLite and rich

    settings = load_settings(context)
    with read_state.open_if_exists(settings) as state:
        found = find_letters(state, parse_ids(letter_ids))
        list_statuses = read_state.list_statuses(settings, state) if state else {}
    if json:
        read_state.write_json(document(letter, list_statuses[letter.list_id]) for letter in found)
        return
    with ignore_broken_pipe():
        for place, letter in enumerate(found):
            if place:
                typer.echo()
            read_state.write_facts(facts(letter, list_statuses[letter.list_id]))


@app.command("discard", cls=PlainCommand, epilog=epilog("dlq discard"))
def discard_letters(
    context: typer.Context,
    letter_ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="ID", help=_IDS, show_default=False, autocompletion=completion.letters),
    ] = None,
    *,
    client: CLIENT_LETTERS = None,
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

    _check_named(letter_ids, client)
    if not (letter_ids or client):
        raise ConfigError("no dead letter was named", hint="Name some, as in `mcimport dlq discard 3-10`, or --client.")
    settings = load_settings(context)
    with read_state.open_if_exists(settings) as state:
        chosen = _to_discard(settings, state, letter_ids or [], client or [])
        for letter in chosen:
            if letter.status != "open":
                say(f"dead letter {letter.id} is already closed: {letter.status}")
        still_open = [letter for letter in chosen if letter.status == "open"]
        found = affected(still_open)
        named = " ".join([*(f"--client {shlex.quote(name)}" for name in client or []), *(letter_ids or [])])
        if state is None or not still_open or not is_confirmed(found, named, yes=yes, members=members):
            say("nothing was discarded")
            return
        close(state, "discarded", [letter.id for letter in still_open])
    say(f"{dead_letters(found)} discarded")


def _to_discard(
    settings: Settings, state: State | None, typed: Sequence[str], clients: Sequence[str]
) -> list[DeadLetter]:
    """Returns the dead letters with these ids, or the open ones of these clients, configured or not any more."""
    from mcimport.state import dead_letters  # noqa: PLC0415 - other commands start without SQLite

    if typed:
        return find_letters(state, parse_ids(typed), of_ranges="open")
    found = dead_letters.search(state, clients=clients, limit=-1) if state else []
    if not found:
        settings.chosen(clients)  # raises for a name that nobody has
    return found


@app.command("replay", cls=PlainCommand, epilog=epilog("dlq replay"))
def replay_letters(
    context: typer.Context,
    letter_ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="ID", help=_IDS, show_default=False, autocompletion=completion.letters),
    ] = None,
    *,
    client: CLIENT_LETTERS = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON line per list on standard output.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show only errors.")] = False,
    engine: ENGINE = None,
    verbose: VERBOSE = False,
    log_format: LOG_FORMAT = LogFormat.TEXT,
) -> int:
    """Imports the members and time ranges of dead letters again; without ID, all open ones, or a client's."""
    from mcimport.cli.call import Output  # noqa: PLC0415 - loads the HTTP client; other commands start without it
    from mcimport.cli.run_command import run_session  # noqa: PLC0415 - as above
    from mcimport.engine import engine_of  # noqa: PLC0415 - as below
    from mcimport.state import state_exists  # noqa: PLC0415 - as below
    from mcimport.sync.replay import replay_all  # noqa: PLC0415 - as below

    log = set_log_format(log_format)
    _check_named(letter_ids, client)
    settings = load_settings(context)
    clients = settings.chosen(client or [])
    if not state_exists(settings.db_path):
        warn(no_state_file(settings))
        find_letters(None, parse_ids(letter_ids or []))  # raises for the first that is named
        return OK
    output = Output(json, quiet, verbose=verbose, log=log, engine=engine_of(settings, engine))
    nothing = "no open dead letters for the current Ometria accounts; `mcimport dlq list` shows all"
    ids = _to_replay(settings, letter_ids or [])
    return run_session(
        lambda session: replay_all(clients, ids, session), settings, output, by_name=True, nothing=nothing
    )


def _to_replay(settings: Settings, typed: Sequence[str]) -> list[int]:
    """Returns the ids that were typed; of a range, those of the open dead letters in it."""
    ids = parse_ids(typed)
    if all(len(one) == 1 for one in ids):
        return [one[0] for one in ids]
    from mcimport.state import open_state  # noqa: PLC0415 - other commands start without SQLite

    with open_state(settings.db_path, create=False) as state:
        return [letter.id for letter in find_letters(state, ids, of_ranges="open")]


def _check_named(letter_ids: Sequence[str] | None, client: Sequence[str] | None) -> None:
    if letter_ids and client:
        raise ConfigError("ids of dead letters and --client cannot be used together")


def is_confirmed(found: Affected, chosen: str, *, yes: bool, members: str | None) -> bool:
    """Returns whether these dead letters are to be discarded by a person who knows how many members they are about.

    `chosen`: what was typed to choose them. Asks at the terminal unless the options say it. Raises ConfigError
    where there is no terminal, and for a number that is not that of the dead letters.
    """
    number = "unknown" if found.unknown else str(found.members)
    confirmed = f"--yes --members {number}" if found.is_many else "--yes"
    hint = f"Discard without being asked: `mcimport dlq discard {confirmed} {chosen}`"
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
