"""Who is told how it went: a health check of every call, a webhook of trouble and of its end.

Nobody is held up by it, and nothing fails for it: what cannot be told is one line, and tried again with the next call.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

import httpx

from mcimport.config import Client, NoticeSource
from mcimport.errors import BusyError, ConfigError, InterruptedRunError, McimportError, StateError
from mcimport.limits import Stop
from mcimport.posting import Mail
from mcimport.records import ListResult
from mcimport.report.comparison import verdict
from mcimport.report.spot_check import accusation, names_all
from mcimport.report.summary import in_words
from mcimport.report.words import counted
from mcimport.state import State, letters, lists, open_state, spot_checks, troubles
from mcimport.times import iso

TRIES = 2
AT_ONCE = 8
LEAVE_WITHIN = 2.0  # seconds that a message may take once it was cut off
LOOK_UP = 0.1  # seconds between two looks at whether somebody asked us to leave
ENOUGH = 3  # notices in a row that could not be given, after which the rest of the call is not told either
LONGEST_TEXT = 2_000  # characters that a health check is given to keep


class NoticeError(McimportError):
    """A notice could not be given; the words do not hold the address, which is a secret."""


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What a call did, for a health check. Neither: it was left to another process, or stopped by somebody."""

    is_good: bool
    is_bad: bool
    text: str


class Notifier:
    """Tells of one call. Safe to use from the threads of several clients.

    Args:
        whole: the health check of the whole call, if there is one.
        stop: once it was asked for, nothing is waited for.
    """

    def __init__(self, db_path: Path, whole: NoticeSource | None, stop: Stop) -> None:
        self._db_path = db_path
        self._whole = whole
        self._stop = stop
        self._mail = Mail()
        self._told: list[Future[None]] = []
        self._lines: list[str] = []
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="notice")
        self._lock = Lock()
        self._failures = 0
        self._begun: dict[str, Future[None]] = {}
        self._begin("", whole)

    def begun(self, client: Client) -> None:
        """The client's lists are about to be worked on."""
        self._begin(client.name, client.healthcheck_source)

    def ended(self, client: Client, results: Sequence[ListResult]) -> None:
        """The client is through with this call."""
        self._end(client.name, client.healthcheck_source, results)
        if client.webhook_source is not None and results:
            source = client.webhook_source
            self._submit(lambda: self._tell_of_troubles(source, results))

    def close(self, results: Sequence[ListResult]) -> list[str]:
        """Ends the call as a whole, and waits until all was told, or was found not to be tellable: in these lines."""
        self._end("", self._whole, results)
        while not self._stop.asked.is_set() and wait(self._told, LOOK_UP).not_done:
            pass
        lines = list(self._lines)
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._stop.asked.is_set():
            self._mail.cut()
            wait([one for one in self._told if not one.cancelled()], LEAVE_WITHIN)
        return lines

    # ---- health checks

    def _begin(self, name: str, source: NoticeSource | None) -> None:
        if source is not None:
            self._begun[name] = self._submit(lambda: self._ping(source, "/start", ""))

    def _end(self, name: str, source: NoticeSource | None, results: Sequence[ListResult]) -> None:
        begun, verdict = self._begun.get(name), _verdict(results)
        if source is None or begun is None or not (verdict.is_good or verdict.is_bad):
            return

        def tell() -> None:
            begun.result()  # the start is told first; it was begun first, too, so somebody is at it
            self._ping(source, "/fail" if verdict.is_bad else "", verdict.text)

        self._submit(tell)

    def _ping(self, source: NoticeSource, ending: str, text: str) -> None:
        url = urlsplit(source.read().get_secret_value())  # what is escaped in it stays so
        url = url._replace(path=url.path.rstrip("/") + ending)
        self._post(source, url.geturl(), content=text.encode())

    # ---- webhooks

    def _tell_of_troubles(self, source: NoticeSource, results: Sequence[ListResult]) -> None:
        """Once when it begins and once when it is over; what could not be told is news with the next call, too.

        Where the state file cannot say what was told before, trouble is told again with every call.
        """
        untold = deque(results)
        try:
            with open_state(self._db_path) as state:
                while untold:
                    self._tell_of_one(state, source, untold)
        except StateError:
            for result in filter(_is_news, untold):
                self._post_event(source, "failure", result, int(time.time()))

    def _tell_of_one(self, state: State, source: NoticeSource, untold: deque[ListResult]) -> None:
        result = untold[0]
        known = troubles.since(state, result.client, result.list_key)
        event = _event(state, result, has_trouble=known is not None)
        untold.popleft()
        if event is None:
            return
        now = int(time.time())
        self._post_event(source, event, result, known or now)
        if event == "failure":
            troubles.begin(state, result.client, result.list_key, now)
        else:
            troubles.end(state, result.client, result.list_key)

    def _post_event(self, source: NoticeSource, event: str, result: ListResult, since: int) -> None:
        self._post(source, source.read().get_secret_value(), json=_document(event, result, since))

    # ---- telling

    def _submit(self, work: Callable[[], None]) -> Future[None]:
        def told() -> None:
            if self._failures >= ENOUGH:
                return
            try:
                work()
                self._failures = 0
            except McimportError as error:
                self._failed(str(error))
            except Exception as error:  # noqa: BLE001 - a mistake of ours here must not fail a run that went well
                self._failed(f"a notification failed ({type(error).__name__})")

        future = self._pool.submit(told)
        self._told.append(future)
        return future

    def _failed(self, words: str) -> None:
        with self._lock:
            self._failures += 1
            if self._failures <= ENOUGH:
                self._lines.append(words)
            if self._failures == ENOUGH:
                self._lines.append("notifications do not get through: there were no more of them in this call")

    def _post(self, source: NoticeSource, url: str, **what: Any) -> None:
        """Raises NoticeError."""
        words = "cannot be reached"
        for _ in range(TRIES):
            try:
                status = self._mail.post(url, **what)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                words = "took too long to answer" if isinstance(error, httpx.TimeoutException) else "cannot be reached"
                if self._stop.asked.is_set():
                    break
                continue
            except ConfigError as error:
                words = f"cannot be reached: {error}"
                break
            if 200 <= status < 300:  # noqa: PLR2004 - the range that HTTP calls success
                return
            words = f"answered {status}"
        raise NoticeError(f"{source.name} {words}: it was not told")


def _verdict(results: Sequence[ListResult]) -> _Verdict:
    """Bad as soon as one list is; good only when every one was really done."""
    bad = [result for result in results if _is_trouble(result)]
    text = "\n".join(f"{result.client} {result.list_key}: {_reason(result)}" for result in bad or results)
    is_whole = all(result.status == "completed" for result in results)
    return _Verdict(is_good=is_whole and not bad, is_bad=bool(bad), text=text[:LONGEST_TEXT])


def _is_trouble(result: ListResult) -> bool:
    """Not when another process is at it, nor when somebody stopped it: the next call goes on."""
    failed = result.error is not None and not isinstance(result.error, BusyError | InterruptedRunError)
    return failed or result.dead_letters > 0 or _is_apart(result)


def _is_apart(result: ListResult) -> bool:
    """Both sides were compared, and differ."""
    return result.comparison is not None and result.comparison.left > 0


def _is_news(result: ListResult) -> bool:
    """For a webhook; contacts that Ometria dropped are no fault of the call, which a health check is about."""
    return _is_trouble(result) or _has_missing(result)


def _has_missing(result: ListResult) -> bool:
    """A spot check found that Ometria does not hold what it accepted."""
    return result.spot_check is not None and bool(result.spot_check.missing)


def _event(state: State, result: ListResult, *, has_trouble: bool) -> str | None:
    if _is_news(result):
        return None if has_trouble else "failure"
    if not has_trouble or result.error is not None or not result.runs:
        return None
    row = lists.by_id(state, result.runs[-1].list_id)
    is_apart = lists.reconciled(row).get("left", 0) > 0 or spot_checks.missing(row) is not None
    return None if is_apart or letters.count_open(state, row.id) else "recovery"


def _reason(result: ListResult) -> str:
    if result.error is not None:
        return str(result.error)
    if result.dead_letters:
        return in_words(result)
    if _is_apart(result) and (found := result.comparison):
        kinds = f"{found.missing.count:,} missing, {found.stale.count:,} stale, {found.gone.count:,} gone"
        unread = f"; {counted(len(found.unread), 'span')} could not be read" if found.unread else ""
        refused = f", {found.not_taken.count:,} did not take" if found.not_taken.count else ""
        return f"{verdict(found)}: {kinds}; {found.mended:,} mended{refused}{unread}"
    if _has_missing(result) and result.spot_check:
        return accusation(result.spot_check, int(time.time()))
    return result.status


def _next(result: ListResult) -> str:
    if result.error is not None:
        return result.error.hint or "`mcimport status` and `mcimport check` tell more."
    if _is_apart(result) and (found := result.comparison):
        command = f"mcimport reconcile {result.list_key}"
        if found.not_taken.count:
            return f"`{command} --mend` tries again, and shows Ometria's latest errors."
        return f"`{command}` reads it again." if found.is_only_unread else f"`{command} --mend` mends it."
    if result.dead_letters:
        return "`mcimport dlq list` shows them, `mcimport dlq replay` tries again."
    return f"{names_all(result.list_key)}." if _has_missing(result) else ""


def _document(event: str, result: ListResult, since: int) -> dict[str, Any]:
    return {
        "event": event,
        "client": result.client,
        "list_key": result.list_key,
        "run_id": result.runs[-1].id if result.runs else None,
        "status": result.status,
        "reason": _reason(result),
        "next": _next(result),
        "dead_letters": result.dead_letters,
        "dead_letter_members": result.affected.known_members,
        "since": iso(since),
        "at": iso(int(time.time())),
    }
