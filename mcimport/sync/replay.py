"""Dead letters back into the stream: each span or member is read afresh, in a run of its own."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import groupby

from mcimport.config import Client
from mcimport.errors import ConfigError
from mcimport.errors.machine import as_ours
from mcimport.models import Window
from mcimport.models.records import DeadLetter, ListResult, ListRow
from mcimport.services.connections import ClientServices
from mcimport.services.destination import place_of
from mcimport.state import State, dead_letters, destinations, lists, lock_client, open_state, runs
from mcimport.sync import first_sync
from mcimport.sync.list_run import ListRun, SyncSession, check_nobody_elsewhere, execute, record_failure, result_of

_OPEN_ONES = "`mcimport dlq list` shows the open ones."


def replay_all(clients: Sequence[Client], letter_ids: Sequence[int], session: SyncSession) -> list[ListResult]:
    """Replays the letters named, or all that are open, of the destinations that the clients' keys lead to.

    Raises ConfigError, before any request, for a letter that does not exist or is not open; StateError.
    """
    with open_state(session.db_path, create=False) as state:
        chosen = _chosen(state, letter_ids)
    by_client: dict[str, list[DeadLetter]] = {}
    for letter in chosen:
        by_client.setdefault(letter.client, []).append(letter)
    known = {client.name: client for client in clients}
    strangers = [name for name in by_client if name not in known]
    if letter_ids and strangers:
        letter_id = by_client[strangers[0]][0].id
        raise ConfigError(
            f"client {strangers[0]} of dead letter {letter_id} is not configured",
            hint=f"`mcimport dlq discard {letter_id}` closes the dead letter.",
        )
    return [
        result
        for name, theirs in by_client.items()
        if name in known
        for result in _replay_client(known[name], theirs, session, named=bool(letter_ids))
    ]


def _chosen(state: State, letter_ids: Sequence[int]) -> list[DeadLetter]:
    if not letter_ids:
        return dead_letters.search(state, limit=-1)
    return [_found(state, letter_id) for letter_id in dict.fromkeys(letter_ids)]


def _found(state: State, letter_id: int) -> DeadLetter:
    letter = dead_letters.find(state, letter_id)
    if letter is None:
        raise ConfigError(f"there is no dead letter {letter_id}", hint=_OPEN_ONES)
    if letter.status != "open":
        raise ConfigError(f"dead letter {letter_id} is not open: it is {letter.status}", hint=_OPEN_ONES)
    return letter


def _replay_client(
    client: Client, theirs: Sequence[DeadLetter], session: SyncSession, *, named: bool
) -> list[ListResult]:
    return session.observe(client, lambda: _replay_theirs(client, theirs, session, named=named))


def _replay_theirs(
    client: Client, theirs: Sequence[DeadLetter], session: SyncSession, *, named: bool
) -> list[ListResult]:
    """Under the client's lock, list by list; never raises what `errors` knows: it is in the results."""
    results: list[ListResult] = []
    groups = [list(group) for _, group in groupby(sorted(theirs, key=_by_list), key=_by_list)]
    try:
        with ExitStack() as stack:
            stack.enter_context(lock_client(session.db_path, client.name))
            stack.enter_context(session.engine.client_lock(client))
            services = stack.enter_context(session.accounts.open(client))
            state = stack.enter_context(open_state(session.db_path, create=False))
            if session.engine.is_local:
                check_nobody_elsewhere(state, client)
            for group in groups:
                result = _attempt(client, group, session, services, state, named=named)
                if result is not None:
                    results.append(result)
                    session.reporter.ended(result)
    except Exception as raised:  # noqa: BLE001 - whatever it is, it ends this client's work alone
        error = as_ours(raised)
        for group in groups[len(results) :]:
            result = result_of(client, group[0].list_key, None, error, 0.0)
            results.append(result)
            session.reporter.ended(result)
    return results


def _by_list(letter: DeadLetter) -> int:
    return letter.list_id


def _attempt(
    client: Client,
    group: Sequence[DeadLetter],
    session: SyncSession,
    services: ClientServices,
    state: State,
    *,
    named: bool,
) -> ListResult | None:
    """One list's letters. None: they belong to another destination, and nobody asked for them by name."""
    begun = time.monotonic()
    row = lists.by_id(state, group[0].list_id)
    place = place_of(state, client, row.list_key)
    here = destinations.current(state, place)
    if here is None or here.id != row.id:
        if not named:
            return None
        raise ConfigError(
            f"{client.name}: dead letter {group[0].id} belongs to another Ometria account or collection than list"
            f" {row.list_key} is synced to now",
            hint=f"Same account, new key? `mcimport keys accept {client.name}`.",
        )
    row = destinations.get_or_create(state, place)  # what was tried elsewhere goes on here
    list_run, failure = _list_run(client, row, session, services, state), None
    try:
        _replay(list_run, group)
    except Exception as error:  # noqa: BLE001 - whatever it is, it ends this list alone
        failure = as_ours(error)
    return result_of(client, row.list_key, list_run, failure, time.monotonic() - begun)


def _list_run(client: Client, row: ListRow, session: SyncSession, services: ClientServices, state: State) -> ListRun:
    return ListRun(client, row.list_key, services, state, session.reporter, row, session.engine)


def _replay(list_run: ListRun, group: Sequence[DeadLetter]) -> None:
    """Spans first, then single members: these may be read by id, as they are at that moment, and must come last.

    Runs of their own; they never move the sync point. The letters close as their windows end.
    """
    runs.mark_interrupted(list_run.state, list_run.row.id)
    still_open = {letter.id for letter in dead_letters.open_for_list(list_run.state, list_run.row.id)}
    chosen = [letter for letter in group if letter.id in still_open]
    spans = [letter for letter in chosen if letter.member_id is None]
    members = [letter for letter in chosen if letter.member_id is not None]
    for letters_of_a_kind in (spans, members):
        windows = [replace(window, number=n) for n, window in enumerate(list_run.read_again(letters_of_a_kind))]
        if windows:
            _replay_run(list_run, windows)


def _replay_run(list_run: ListRun, windows: Sequence[Window]) -> None:
    run_id = runs.begin(list_run.state, list_run.row, "replay", None, moves_sync_point=False)
    list_run.begin(run_id)
    with first_sync.first_try(list_run):
        with record_failure(list_run, run_id):
            page = first_sync.present(list_run)
            first_sync.begin(list_run, page)
            runs.plan(list_run.state, run_id, None, 0, windows)
        execute(list_run, run_id, windows, {}, until=page.at_most)
