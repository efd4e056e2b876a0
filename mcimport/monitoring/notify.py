"""Who is told how it went: a health check of every call, a webhook of each kind of trouble and of its end.

Nobody is held up by it, and nothing fails for it: what cannot be told is one line, and tried again with the next call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

import httpx

from mcimport.config import Client, NoticeSource, Settings
from mcimport.errors import ConfigError, McimportError
from mcimport.errors.machine import submit
from mcimport.models.results import ListResult
from mcimport.monitoring.http_post import HttpPoster
from mcimport.monitoring.trouble import of_result
from mcimport.monitoring.webhook import Webhook
from mcimport.services.http.shutdown import StopSignal

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
        stop: once it was asked for, nothing is waited for.
    """

    def __init__(self, settings: Settings, stop: StopSignal) -> None:
        self._settings = settings
        self._stop = stop
        self._webhook = Webhook(settings, self._post_document)
        self._mail = HttpPoster()
        self._told: list[Future[None]] = []
        self._lines: list[str] = []
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="notice")
        self._lock = Lock()
        self._failures = 0
        self._begun: dict[str, Future[None]] = {}
        self._begin("", settings.healthcheck_source)

    def begun(self, client: Client) -> None:
        """The client's lists are about to be worked on."""
        self._begin(client.name, client.healthcheck_source)

    def ended(self, client: Client, results: Sequence[ListResult]) -> None:
        """The client is through with this call."""
        self._end(client.name, client.healthcheck_source, results)
        if client.webhook_source is not None and results:
            self._submit(partial(self._webhook.tell_of_results, client.webhook_source, results))

    def close(self, results: Sequence[ListResult]) -> list[str]:
        """Ends the call as a whole, and waits until all was told, or was found not to be tellable: in these lines."""
        self._end("", self._settings.healthcheck_source, results)
        for client in self._to_tell_of_ages():
            self._submit(partial(self._tell_of_ages, client, results, list(self._told)))
        while not self._stop.requested.is_set() and wait(self._told, LOOK_UP).not_done:
            pass
        lines = list(self._lines)
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._stop.requested.is_set():
            self._mail.cancel()
            wait([one for one in self._told if not one.cancel()], LEAVE_WITHIN)
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

    def _to_tell_of_ages(self) -> list[Client]:
        try:
            return self._webhook.to_tell_of_ages()
        except Exception as error:  # noqa: BLE001 - as in `_submit`
            self._failed(_in_words(error))
            return []

    def _tell_of_ages(self, client: Client, results: Sequence[ListResult], before: Sequence[Future[None]]) -> None:
        wait(before)  # what came of the lists is told first; it was begun first, too, so somebody is at it
        self._webhook.tell_of_ages(client, results)

    def _post_document(self, source: NoticeSource, document: dict[str, Any]) -> None:
        self._post(source, source.read().get_secret_value(), json=document)

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
                self._failed(_in_words(error))

        future = submit(self._pool, told)
        self._told.append(future)
        return future

    def _failed(self, words: str) -> None:
        with self._lock:
            self._failures += 1
            if self._failures <= ENOUGH:
                self._lines.append(words)
            if self._failures == ENOUGH:
                self._lines.append("notifications keep failing: no more were sent in this run")

    def _post(self, source: NoticeSource, url: str, **what: Any) -> None:
        """Raises NoticeError."""
        words = "cannot be reached"
        for _ in range(TRIES):
            try:
                status = self._mail.post(url, **what)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                words = "took too long to answer" if isinstance(error, httpx.TimeoutException) else "cannot be reached"
                if self._stop.requested.is_set():
                    break
                continue
            except ConfigError as error:
                words = f"cannot be reached: {error}"
                break
            if 200 <= status < 300:  # noqa: PLR2004 - the range that HTTP calls success
                return
            words = f"answered {status}"
        raise NoticeError(f"{source.name} {words}: notification not delivered")


def _in_words(error: Exception) -> str:
    return f"a notification failed ({type(error).__name__})"


def _verdict(results: Sequence[ListResult]) -> _Verdict:
    """Bad as soon as one list is; good only when every one was really done.

    That Ometria does not hold what it once accepted is no fault of this call.
    """
    bad = [result for result in results if any(one.kind != "spot_check" for one in of_result(result))]
    text = "\n".join(f"{result.client} {result.list_key}: {_reason(result)}" for result in bad or results)
    is_whole = all(result.status == "completed" for result in results)
    return _Verdict(is_good=is_whole and not bad, is_bad=bool(bad), text=text[:LONGEST_TEXT])


def _reason(result: ListResult) -> str:
    return "; ".join(one.words for one in of_result(result)) or result.status
