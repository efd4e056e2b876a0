"""Where a list goes, what is remembered of it there, and whether another process may still push to it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from mcimport.config import Client
from mcimport.errors import ConfigError, WorkersBusyError
from mcimport.models.records import ListRow
from mcimport.report.format import moment_utc
from mcimport.services.connections import ClientServices
from mcimport.services.contacts_held import contacts_held
from mcimport.services.destination import moved, place_of, ways_on
from mcimport.state import State, destinations, elsewhere, held_for_other_lists, lock_client


def check_no_worker_has_pages(state: State, client: Client) -> None:
    """Raises WorkersBusyError where Celery workers may still push for the client, from an earlier run.

    Called before anything is pushed from here: a page that a worker read earlier must not follow one that is read now.
    """
    elsewhere.correct(state, client.name)
    if (until := elsewhere.until(state, client.name)) is not None:
        raise WorkersBusyError(
            f"{client.name}: Celery workers may still be processing pages from an earlier run",
            hint=f"`mcimport sync --engine celery` waits for them. They are done by {moment_utc(until)} at the latest.",
        )


def resolve_list(state: State, client: Client, list_key: str, *, new_destination: bool = False) -> ListRow:
    """Returns what is remembered of a list at the destination that the client's Ometria key leads to.

    A client that was renamed keeps its memory: the same list went to the same destination under the former name. (The
    settings refuse two clients that do that at once.)

    Raises ConfigError where Ometria accepted contacts of the list only at another destination: sync point and first
    sync would be wrong at this one (where none was accepted yet, the earlier tries count for this one). Raises
    BusyError while a process that began under the former name is still running, WorkersBusyError while workers may be.

    `new_destination`: the operator knows of the change, and every contact is sent.
    """
    place = place_of(state, client, list_key)
    known, former = destinations.find(state, place), destinations.bound_elsewhere(state, place)
    if known is None and former is None and (other := destinations.of_renamed_client(state, place)):
        adopt_renamed_client(state, other, client.name)
    if known is None and former is not None and not new_destination:
        raise ConfigError(f"{client.name}: {moved(place, former)}", hint=ways_on(client, place, former))
    return destinations.get_or_create(state, place)


def adopt_renamed_client(state: State, former: ListRow, client: str) -> None:
    """Moves a list's memory to the client's new name, while no process works on the list under the former one.

    This very call may hold the former client's lock, for its other lists. An earlier round of `sync --every` may hold
    it for this list, too: that is busy, as another process would be.
    """
    is_held = held_for_other_lists(state.path, former.client, former.list_key)
    with contextlib.nullcontext() if is_held else lock_client(state.path, former.client):
        if (until := elsewhere.until(state, former.client)) is not None:
            raise WorkersBusyError(
                f"{client}: Celery workers may still be processing pages from an earlier run as {former.client}",
                hint=f"They are done by {moment_utc(until)} at the latest; run `mcimport sync` again after that.",
            )
        destinations.rename_client(state, former.id, client)


def check_same_account(services: ClientServices, rows: Sequence[ListRow], client: str) -> None:
    """Looks for contacts of each of these lists, of which Ometria has accepted some.

    Raises ConfigError for the first list of which it holds none; ServiceError where the key is not accepted, or that
    cannot be told.
    """
    services.ometria.check_key()
    for row in rows:
        if not contacts_held(services.mailchimp, services.contacts, row.list_key, row.collection, ()):
            raise ConfigError(
                f"{client}: the Ometria account of this key and address holds no contacts of list {row.list_key}",
                hint=f"New account? `mcimport sync --full {row.list_key}` sends all members there. Same account, but it"
                f" was emptied? `mcimport keys accept {client} --unseen`.",
            )
