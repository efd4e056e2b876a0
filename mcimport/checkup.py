"""Whether everything that a sync needs is there and works: settings, state file, keys, services, lists.

Nothing is changed anywhere: each look is a read, and each finding says what was seen and what mends it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from mcimport.accounts import Accounts, Services
from mcimport.config import Client, Settings
from mcimport.errors import ConfigError, McimportError, StateError, TooSlowError
from mcimport.limits import Stop
from mcimport.mailchimp import CLOCK_TOLERANCE
from mcimport.state import holder, lists, open_state

Verdict = Literal["good", "note", "bad"]

AT_ONCE = 16  # clients looked at side by side: at 0.3 s an answer, 50 of them take some four seconds
TIMEOUT = 4.0  # seconds for one answer, whatever is configured for a sync
BUSY_FOR = 2.0  # seconds for which a busy account may refuse before that is what is found
OVERRIDES: Mapping[str, str] = {
    "MCIMPORT_MAILCHIMP_URL": "replaces Mailchimp's address for every client",
    "MCIMPORT_OMETRIA_URL": "replaces Ometria's address for every client",
    "MCIMPORT_DB": "names the state file",
    "MCIMPORT_CONFIG": "names the configuration file",
}
FIRST_SYNC = (
    "switch off Ometria's own Mailchimp synchronisation first, or each undoes the other; and of one person's listings"
    " in Ometria, an opted-out one outweighs the rest"
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        client: empty for what all clients share.
        verdict: "good", "bad" (a sync would not work, or not as meant), "note" (worth knowing).
        words: what was seen. No key, no address.
        mend: what to do about it; empty where nothing is to be done.
    """

    client: str
    subject: str
    verdict: Verdict
    words: str
    mend: str = ""


def look(
    settings: Settings, clients: Sequence[Client], *, offline: bool, environ: Mapping[str, str]
) -> Iterator[Finding]:
    """What is found, in the order of the file, as soon as it is known. `offline`: only what needs no network."""
    yield Finding("", "configuration", "good", str(settings.config_path or "from the environment"))
    for name, effect in OVERRIDES.items():
        if environ.get(name):
            yield Finding("", "environment", "note", f"{name} is set: it {effect}")
    yield _state_file(settings.db_path)
    accounts = Accounts(Stop(), busy_for=BUSY_FOR)
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="check") as pool:
        for found in pool.map(lambda client: _client(client, settings.db_path, accounts, offline=offline), clients):
            yield from found
    unsynced = _never_synced(settings.db_path, clients)
    if unsynced:
        many = "1 list was" if unsynced == 1 else f"{unsynced:,} lists were"
        yield Finding("", "first sync", "note", f"{many} never synced", FIRST_SYNC)


# ---- on this machine


def _state_file(path: Path) -> Finding:
    if not path.exists():
        return _room_for(path)
    try:
        with open_state(path, create=False) as state:
            verdict = state.value("PRAGMA quick_check(1)")
            with state.transaction():
                pass  # the lock for writing can be had
    except StateError as error:
        return _bad("", "state file", error)
    if verdict != "ok":
        return Finding("", "state file", "bad", f"{path} is damaged", "Restore it from a backup, or move it away.")
    if not _takes_files(path.parent):
        return Finding("", "state file", "bad", f"no file can be made in {path.parent}", "Check its owner and mode.")
    size = sum(part.stat().st_size for part in (path, path.with_name(f"{path.name}-wal")) if part.exists())
    return Finding("", "state file", "good", f"{path}, healthy, {_size(size)}")


def _room_for(path: Path) -> Finding:
    folder = next(one for one in path.parents if one.exists())
    if folder.is_dir() and _takes_files(folder):
        return Finding("", "state file", "good", f"{path} will be made by the first sync")
    return Finding(
        "", "state file", "bad", f"{path} cannot be made: no file can be made in {folder}", "Name another with --db."
    )


def _takes_files(folder: Path) -> bool:
    """Tried, with a file that has no name: rights on paper are not all that counts."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _size(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 100_000 else f"{size / 1e3:,.0f} KB"  # noqa: PLR2004 - a tenth of a MB


def _never_synced(path: Path, clients: Sequence[Client]) -> int:
    known: set[tuple[str, str]] = set()
    if path.exists():
        with suppress(StateError), open_state(path, create=False) as state:
            known = {(one.client, one.list_key) for one in lists.overview(state) if one.sync_point is not None}
    return sum((client.name, key) not in known for client in clients for key in client.lists)


# ---- one client


def _client(client: Client, db_path: Path, accounts: Accounts, *, offline: bool) -> list[Finding]:
    """Both keys, then what they open."""
    found = list(_at_home(client, db_path))
    if offline or any(one.verdict == "bad" for one in found):
        return found
    quick = replace(
        client,
        retry=client.retry.model_copy(update={"retries": 0}),
        mailchimp=client.mailchimp.model_copy(update={"timeout": min(TIMEOUT, client.mailchimp.timeout)}),
        ometria=client.ometria.model_copy(update={"timeout": min(TIMEOUT, client.ometria.timeout)}),
    )
    try:
        with accounts.open(quick) as services:
            return [*found, *_abroad(client, services)]
    except McimportError as error:
        return [*found, _bad(client.name, "services", error)]


def _at_home(client: Client, db_path: Path) -> Iterator[Finding]:
    for subject, look_up in (
        ("Mailchimp key", client.mailchimp_url),
        ("Mailchimp key", client.mailchimp_key),
        ("Ometria key", client.ometria_key),
    ):
        try:
            look_up()
        except ConfigError as error:
            yield _bad(client.name, subject, error)
            break
    busy = holder(db_path, client.name)
    if busy is not None:
        yield Finding(client.name, "lock", "note", f"another process is at work on this client{busy}")


def _abroad(client: Client, services: Services) -> Iterator[Finding]:
    is_open = True
    try:
        apart = services.mailchimp.ping()
        yield Finding(client.name, "Mailchimp key", "good", "accepted")
        yield from _clock(client.name, apart)
    except McimportError as error:
        is_open = False
        yield _bad(client.name, "Mailchimp key", error)
    try:
        services.ometria.check_key()
        yield Finding(client.name, "Ometria key", "good", "accepted")
    except McimportError as error:
        yield _bad(client.name, "Ometria key", error)
    if is_open:
        yield from _lists(client, services)


def _clock(client: str, apart: float | None) -> Iterator[Finding]:
    """`apart`: seconds that this machine is ahead of Mailchimp."""
    if apart is None:
        yield Finding(client, "clock", "note", "Mailchimp sends none: this machine's is used, less five minutes")
    elif abs(apart) > CLOCK_TOLERANCE:
        side = "ahead of" if apart > 0 else "behind"
        words = f"this machine's is {abs(apart) / 60:,.0f} minutes {side} Mailchimp's"
        yield Finding(client, "clock", "bad", words, "Let the machine keep its time by NTP.")


def _lists(client: Client, services: Services) -> Iterator[Finding]:
    """How large each is. One that takes too long ends it: somebody waits for all of this."""
    for key in client.lists:
        subject = f"list {key}"
        try:
            yield Finding(client.name, subject, "good", f"{services.mailchimp.size(key):,} members")
        except TooSlowError as error:
            yield _bad(client.name, f"{subject} and those behind it", error)
            return
        except McimportError as error:
            yield _bad(client.name, subject, error)


def _bad(client: str, subject: str, error: McimportError) -> Finding:
    return Finding(client, subject, "bad", str(error), error.hint)
