"""The replay of dead letters: each span or member is read again, in a run of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from itertools import groupby
from operator import attrgetter

from mcimport.config import Client
from mcimport.errors import ConfigError
from mcimport.models import Window
from mcimport.models.records import DeadLetter
from mcimport.models.results import ListResult
from mcimport.services.destination import place_of
from mcimport.state import State, dead_letters, destinations, lists, open_state, runs
from mcimport.sync import first_sync
from mcimport.sync.clients import ClientRunner, ClientWork, OpenClient, SyncSession
from mcimport.sync.list_run import ListRun, execute, record_failure

_OPEN_ONES = "`mcimport dlq list` shows the open ones."


def replay_all(clients: Sequence[Client], letter_ids: Sequence[int], session: SyncSession) -> list[ListResult]:
    """Replays the dead letters with these ids, or all that are open, of the clients' present destinations.

    Raises ConfigError, before any request, for one that does not exist or is not open; StateError.
    """
    with open_state(session.db_path, create=False) as state:
        named = [_found(state, letter_id) for letter_id in dict.fromkeys(letter_ids)]
        chosen = named or dead_letters.search(state, limit=-1)
    by_client: dict[str, list[DeadLetter]] = {}
    for letter in chosen:
        by_client.setdefault(letter.client, []).append(letter)
    known = {client.name: client for client in clients}
    for letter in named:
        if letter.client not in known:
            raise ConfigError(
                f"client {letter.client} of dead letter {letter.id} is not configured",
                hint=f"`mcimport dlq discard {letter.id}` closes the dead letter.",
            )
    work = [
        _work_of(known[name], letters, named=bool(letter_ids)) for name, letters in by_client.items() if name in known
    ]
    return ClientRunner(session, may_push=True).run(work, jobs=1)


def _found(state: State, letter_id: int) -> DeadLetter:
    letter = dead_letters.find(state, letter_id)
    if letter is None:
        raise ConfigError(f"there is no dead letter {letter_id}", hint=_OPEN_ONES)
    if letter.status != "open":
        raise ConfigError(f"dead letter {letter_id} is not open: it is {letter.status}", hint=_OPEN_ONES)
    return letter


def _work_of(client: Client, chosen: Iterable[DeadLetter], *, named: bool) -> ClientWork:
    """Groups one client's dead letters by their list at one destination."""
    list_id = attrgetter("list_id")
    groups = [list(group) for _, group in groupby(sorted(chosen, key=list_id), key=list_id)]
    return ClientWork(client, [(group[0].list_key, partial(_replay_one, group, named=named)) for group in groups])


def _replay_one(group: Sequence[DeadLetter], opened: OpenClient, *, named: bool) -> ListResult | None:
    """Replays one list's dead letters.

    None: they belong to another destination, and were not asked for by their ids. Raises ConfigError where they were.
    """
    state, client = opened.state, opened.client
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
    return opened.run_list(
        row.list_key,
        lambda: destinations.get_or_create(state, place),  # tries at another destination count for this one
        lambda list_run: _replay(list_run, group),
    )


def _replay(list_run: ListRun, group: Sequence[DeadLetter]) -> None:
    """Replays spans first, then single members: these may be read by id, as they are at that moment, so they come last.

    Each in a run of its own, which never moves the sync point. A dead letter closes as its window ends.
    """
    runs.mark_interrupted(list_run.state, list_run.row.id)
    still_open = {letter.id for letter in dead_letters.open_for_list(list_run.state, list_run.row.id)}
    chosen = [letter for letter in group if letter.id in still_open]
    spans = [letter for letter in chosen if letter.member_id is None]
    members = [letter for letter in chosen if letter.member_id is not None]
    for letters_of_a_kind in (spans, members):
        if windows := list_run.read_again(letters_of_a_kind):
            _replay_run(list_run, windows)


def _replay_run(list_run: ListRun, windows: Sequence[Window]) -> None:
    run_id = runs.begin(list_run.state, list_run.row, "replay", None, moves_sync_point=False)
    list_run.begin(run_id)
    with first_sync.first_try(list_run):
        with record_failure(list_run, run_id):
            page = first_sync.present(list_run)
            first_sync.begin(list_run, page)
            runs.plan(list_run.state, run_id, None, _total(windows), windows)
        execute(list_run, run_id, windows, {}, until=page.at_most)


def _total(windows: Sequence[Window]) -> int:
    """Returns about how many members will be read; 0 where that is not known of one of the windows."""
    return sum(window.count for window in windows) if all(window.count for window in windows) else 0
