"""Notifies a health check of every call, and a webhook when a kind of trouble begins and ends.

No sync waits for it or fails because of it: a notification that cannot be delivered becomes a line of output, and the
next call sends it again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from threading import Lock

from mcimport.config import Client, NotifyUrlSource, Settings
from mcimport.errors import McimportError
from mcimport.errors.machine import submit
from mcimport.models.results import ListResult
from mcimport.monitoring.delivery import Delivery
from mcimport.monitoring.trouble import of_result
from mcimport.monitoring.webhook import Change, Webhook
from mcimport.services.http.shutdown import StopSignal

MAX_WORKERS = 8
LEAVE_WITHIN = 2.0  # seconds that a notification may take once it was cancelled
POLL_INTERVAL = 0.1  # seconds between two looks at whether a stop was requested
MAX_FAILURES = 3  # failed notifications in a row after which the call sends no more
MAX_TEXT = 2_000  # characters of the text that a health check gets


class Notifier:
    """Sends the notifications of one call, on threads of its own. Safe to use from the threads of several clients.

    Args:
        stop: once a stop is requested, no notification is waited for.
    """

    def __init__(self, settings: Settings, stop: StopSignal) -> None:
        self._settings = settings
        self._stop = stop
        self._delivery = Delivery(stop)
        self._webhook = Webhook(settings, self._delivery.post_document)
        self._futures: list[Future[None]] = []
        self._messages: list[str] = []
        self._pool = ThreadPoolExecutor(MAX_WORKERS, thread_name_prefix="notification")
        self._lock = Lock()
        self._failures = 0
        self._begun: dict[str, Future[None]] = {}

    def start(self) -> None:
        """Pings the health check of the call before its work."""
        self._begin("", self._settings.healthcheck_source)

    def begun(self, client: Client) -> None:
        """Pings the client's health check before its lists are worked on."""
        self._begin(client.name, client.healthcheck_source)

    def ended(self, client: Client, results: Sequence[ListResult]) -> None:
        """Pings the client's health check, and notifies its webhook, after its lists were worked on."""
        self._end(client.name, client.healthcheck_source, results)
        if client.webhook_source is not None and results:
            self._submit(partial(self._webhook.notify_results, client.webhook_source, results))

    def close(self, results: Sequence[ListResult]) -> list[str]:
        """Pings the health check of the call, waits for all notifications, and returns a line for each that failed."""
        self._end("", self._settings.healthcheck_source, results)
        overdue: Iterable[Sequence[Change]] = ()
        with self._reported():
            overdue = self._webhook.overdue_changes(results).values()
        for changes in overdue:
            self._submit(partial(self._notify_overdue, changes, list(self._futures)))
        while not self._stop.requested.is_set() and wait(self._futures, POLL_INTERVAL).not_done:
            pass
        lines = list(self._messages)
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._stop.requested.is_set():
            self._delivery.cancel()
            wait([future for future in self._futures if not future.cancel()], LEAVE_WITHIN)
        return lines

    # ---- health checks

    def _begin(self, name: str, source: NotifyUrlSource | None) -> None:
        if source is not None:
            self._begun[name] = self._submit(lambda: self._delivery.ping(source, "/start", ""))

    def _end(self, name: str, source: NotifyUrlSource | None, results: Sequence[ListResult]) -> None:
        begun, (ending, text) = self._begun.get(name), _verdict(results)
        if source is None or begun is None or ending is None:
            return

        def ping() -> None:
            begun.result()  # the start first; it was submitted first, so this cannot wait for ever
            self._delivery.ping(source, ending, text)

        self._submit(ping)

    # ---- webhooks

    def _notify_overdue(self, changes: Sequence[Change], before: Sequence[Future[None]]) -> None:
        wait(before)  # the results of lists first; they were submitted first, so this cannot wait for ever
        self._webhook.notify_overdue(changes)

    # ---- sending

    def _submit(self, work: Callable[[], None]) -> Future[None]:
        def attempt() -> None:
            if self._failures < MAX_FAILURES:
                with self._reported():
                    work()
                    self._failures = 0

        future = submit(self._pool, attempt)
        self._futures.append(future)
        return future

    @contextmanager
    def _reported(self) -> Iterator[None]:
        """Reports any error of the block in a line: none may fail a run that went well."""
        try:
            yield
        except McimportError as error:
            self._failed(str(error))
        except Exception as error:  # noqa: BLE001 - as above
            self._failed(f"a notification failed ({type(error).__name__})")

    def _failed(self, words: str) -> None:
        with self._lock:
            self._failures += 1
            if self._failures <= MAX_FAILURES:
                self._messages.append(words)
            if self._failures == MAX_FAILURES:
                self._messages.append("notifications keep failing: no more were sent in this run")


def _verdict(results: Sequence[ListResult]) -> tuple[str | None, str]:
    """Returns the ending of a health check's address, and the text it is sent.

    "/fail" as soon as one list is in trouble, "" only if every list was completed; else None, because another mcimport
    ran or the call was stopped. Contacts that Ometria accepted in earlier calls and no longer holds do not count
    against this call.
    """
    all_found = [(result, list(of_result(result))) for result in results]
    bad = [(result, found) for result, found in all_found if any(trouble.kind != "spot_check" for trouble in found)]
    text = "\n".join(
        f"{result.client} {result.list_key}: {'; '.join(trouble.words for trouble in found) or result.status}"
        for result, found in bad or all_found
    )
    is_whole = all(result.status == "completed" for result in results)
    return "/fail" if bad else "" if is_whole else None, text[:MAX_TEXT]
