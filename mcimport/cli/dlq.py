"""`mcimport dlq`: the dead letters, what each is and what mends it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from mcimport.cli.context import CLIENTS, LARGEST_ID, say, settings
from mcimport.errors import ConfigError
from mcimport.report.letters import HEADS, document, facts, row
from mcimport.report.words import counted

if TYPE_CHECKING:  # loads SQLite's helpers
    from mcimport.records import Letter
    from mcimport.state import State

MOST_LISTED = 1000

LetterId = Annotated[int, typer.Argument(metavar="ID", min=1, max=LARGEST_ID)]
LetterIds = Annotated[list[int], typer.Argument(metavar="ID...", min=1, max=LARGEST_ID)]

app = typer.Typer(help="Dead letters: spans and members that could not be carried.", no_args_is_help=True)


@app.command("list")
def list_letters(
    context: typer.Context,
    *,
    client: CLIENTS = None,
    everything: Annotated[bool, typer.Option("--all", help="Those that are closed, too.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON line a dead letter.")] = False,
) -> None:
    """Lists open dead letters, the oldest first; those of other destinations are marked."""
    from mcimport.cli import looking  # noqa: PLC0415 - other commands start without SQLite and rich
    from mcimport.state import letters  # noqa: PLC0415 - as above

    known = settings(context)
    with looking.remembered(known) as state:
        if state is None:
            return
        status = None if everything else "open"
        found = letters.everything(state, status=status, clients=client or (), most=MOST_LISTED + 1)
        standings = looking.standings(known, state)
    if not found:
        known.chosen(client or [])
    if len(found) > MOST_LISTED:
        say(f"more than {counted(MOST_LISTED, 'dead letter')}: the oldest {MOST_LISTED:,} are shown")
    listed = [(letter, standings[letter.list_id]) for letter in found[:MOST_LISTED]]
    if json:
        looking.write_json(document(letter, standing) for letter, standing in listed)
    else:
        looking.write_table(HEADS, [row(letter, standing) for letter, standing in listed], prose="reason")
        if not listed:
            say("no dead letters" if everything else "no open dead letters")


@app.command("show")
def show_letter(
    context: typer.Context,
    letter_id: LetterId,
    *,
    json: Annotated[bool, typer.Option("--json", help="One JSON line.")] = False,
) -> None:
    """Shows one dead letter: what, when, why, how often, and what mends it."""
    from mcimport.cli import looking  # noqa: PLC0415 - other commands start without SQLite and rich

    known = settings(context)
    with looking.remembered(known) as state:
        (letter,) = named(state, [letter_id])
        standing = looking.standings(known, state)[letter.list_id] if state else ""
    if json:
        looking.write_json([document(letter, standing)])
    else:
        looking.write_facts(facts(letter, standing))


@app.command("discard")
def discard_letters(
    context: typer.Context,
    letter_ids: LetterIds,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Closes dead letters for good: what they name is not carried, unless it changes in Mailchimp."""
    from mcimport.cli import looking  # noqa: PLC0415 - other commands start without SQLite and rich
    from mcimport.state import letters  # noqa: PLC0415 - as above

    with looking.remembered(settings(context)) as state:
        chosen = named(state, letter_ids)
        for letter in chosen:
            if letter.status != "open":
                say(f"dead letter {letter.id} is closed already: {letter.status}")
        still_open = [letter.id for letter in chosen if letter.status == "open"]
        if state is None or not still_open or not (yes or _agreed(len(still_open))):
            say("nothing was discarded")
            return
        letters.discard(state, still_open)
    say(f"{counted(len(still_open), 'dead letter')} discarded")


def named(state: State | None, letter_ids: Sequence[int]) -> list[Letter]:
    """The letters of these ids, each once. Raises ConfigError for the first that does not exist."""
    from mcimport.state import letters  # noqa: PLC0415 - other commands start without SQLite

    wanted = list(dict.fromkeys(letter_ids))
    known = {letter_id: letters.find(state, letter_id) if state else None for letter_id in wanted}
    for letter_id in wanted:
        if known[letter_id] is None:
            raise ConfigError(f"there is no dead letter {letter_id}", hint="`mcimport dlq list --all` shows all.")
    return [letter for letter in known.values() if letter is not None]


def _agreed(number: int) -> bool:
    """Asks the person at the terminal. Raises ConfigError where there is none."""
    if not sys.stdin.isatty():
        raise ConfigError("nobody is there to be asked", hint="`mcimport dlq discard --yes` does not ask.")
    sys.stderr.write(f"Discard {counted(number, 'dead letter')} for good? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
