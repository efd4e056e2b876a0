"""The log for machines: one event per line, as JSON or logfmt, through structlog. It holds no personal data."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, TextIO

from mcimport.models import Outcome, RunKind
from mcimport.models.results import ListResult
from mcimport.report.former_names import EVENT, with_former
from mcimport.report.reconcile_summary import numbers, spans
from mcimport.report.reporter import Reporter
from mcimport.report.summary import totals

if TYPE_CHECKING:  # a call that writes text starts without it
    from structlog.typing import FilteringBoundLogger as EventLog

Format = Literal["json", "logfmt"]
_ORDER = ["time", "level", "event", "client", "list_key", "run_id", "window"]


def event_log(kind: Format, stream: TextIO) -> EventLog:
    """Returns a log that is safe to share between threads. A stream that cannot be written does not stop the caller."""
    import structlog  # noqa: PLC0415 - a call that writes text starts without it

    def timed(_: Any, __: str, event: Mapping[str, Any]) -> dict[str, Any]:
        return {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **event}

    def once_a_line(_: Any, __: str, event: Mapping[str, Any]) -> dict[str, Any]:
        return {key: value.replace("\n", "; ") if isinstance(value, str) else value for key, value in event.items()}

    renderer: Any = structlog.processors.JSONRenderer()
    if kind == "logfmt":
        renderer = structlog.processors.LogfmtRenderer(key_order=_ORDER, drop_missing=True, bool_as_flag=False)
    logger: EventLog = structlog.wrap_logger(
        _LineWriter(stream),
        processors=[
            structlog.processors.add_log_level,
            timed,
            once_a_line,
            lambda _, __, event: with_former(event, EVENT),
            renderer,
        ],
        wrapper_class=structlog.BoundLogger,
    )
    return logger


class _LineWriter:
    """Writes whole lines from several threads."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def msg(self, line: str) -> None:
        with self._lock:
            write_lines(self._stream, [line])

    info = warning = error = msg


def write_lines(stream: TextIO, lines: list[str]) -> None:
    """Writes lines in one call, so that those of several clients do not mix.

    A stream that cannot be written, on a full disk for example, does not end a run.
    """
    if lines:
        with suppress(OSError):
            stream.write("".join(f"{text}\n" for text in lines))
            stream.flush()


class EventLogReporter(Reporter):
    """Logs what a call does while it does it. `quiet`: only warnings, and lists that need attention."""

    def __init__(self, log: EventLog, *, quiet: bool) -> None:
        self._log = log
        self._quiet = quiet
        self._runs: dict[tuple[str, str], int] = {}

    def begun(self, client: str, list_key: str, run_id: int) -> None:
        self._runs[client, list_key] = run_id

    def planned(
        self, client: str, list_key: str, kind: RunKind, total: int, windows: int, *, read: int = 0, done: int = 0
    ) -> None:
        """Logs the windows that this call has to process and, of a resumed run, the members `read` before."""
        if not self._quiet:
            numbers = {
                "members_total": total,
                "windows_total": windows - done,
                **({"members_before": read} if read else {}),
            }
            self._log.info("planned", **self._where(client, list_key), kind=kind, **numbers)

    def page_recorded(self, client: str, list_key: str, outcome: Outcome) -> None:
        where = self._where(client, list_key)
        if outcome.window is not None:
            where["window"] = outcome.window.number
        for letter in outcome.letters:
            self._log.warning("dead letter", **where, kind=letter.kind, cause=letter.cause, reason=letter.reason)
        if not self._quiet:
            counts = _page_counts(outcome.members, outcome.pushed, outcome.rejected)
            self._log.info("page", **where, **counts, seconds=round(outcome.seconds, 3), is_last=outcome.rest is None)

    def reads_back(self, client: str, list_key: str, total: int) -> None:
        self.planned(client, list_key, "reconcile", total, 1)

    def read_back(self, client: str, list_key: str, contacts: int, of_list: int, *, is_last: bool = False) -> None:  # noqa: ARG002
        """Logs a page with the keys that every page has; its window is -1, because it belongs to none."""
        if not self._quiet:
            where = {**self._where(client, list_key), "window": -1}
            self._log.info("page", **where, **_page_counts(contacts, 0, 0), seconds=0.0, is_last=is_last)

    def settles(self, client: str, list_key: str, seconds: float) -> None:
        if not self._quiet:
            self._log.info("settling", **self._where(client, list_key), seconds=round(seconds, 1))

    def waits(self, client: str, list_key: str, words: str) -> None:
        if not self._quiet:
            self._log.warning("waiting", **self._where(client, list_key), message=words)

    def ended(self, result: ListResult) -> None:
        where = self._where(result.client, result.list_key)
        for words in result.news if self._quiet else result.warnings:
            self._log.warning("warning", **where, message=words)
        write = self._log.error if result.status == "failed" else self._log.info
        trouble = {} if result.error is None else {"error": str(result.error), "next": result.error.hint}
        found = result.comparison
        for span in spans(found) if found else ():
            self._log.warning("unread", **where, **span)
        differ, mended = (found.left, found.mended) if found else (0, 0)
        if result.dead_letters or differ:
            write = self._log.warning
        if not self._quiet or result.status == "failed" or result.dead_letters or differ or mended:
            write(result.status, **where, **_counts(result), **trouble)

    def _where(self, client: str, list_key: str) -> dict[str, Any]:
        run_id = self._runs.get((client, list_key))
        return {"client": client, "list_key": list_key, **({} if run_id is None else {"run_id": run_id})}


def _page_counts(read: int, pushed: int, rejected: int) -> dict[str, int]:
    return {"members_read": read, "contacts_pushed": pushed, "contacts_rejected": rejected}


def _counts(result: ListResult) -> dict[str, Any]:
    sums = totals(result)
    return {
        "kind": result.runs[-1].kind if result.runs else None,
        **_page_counts(sums.members_read, sums.contacts_pushed, sums.contacts_rejected),
        "dead_letters": result.dead_letters,
        "seconds": round(result.seconds, 3),
        **({} if result.comparison is None else numbers(result.comparison)),
    }


def request_line(event: str, what: Mapping[str, Any]) -> str:
    """Formats an event of `RequestLog` as a line for people."""
    names = {"run_id": "run", "window": "time range"}
    place = " ".join(f"{word} {what[name]}" for name, word in names.items() if name in what)
    where = f"{what['client']} {what.get('list_key', '')} {place}".strip()
    if event == "retry":
        return f"{where}: {what['reason']}: retried after {what['paused']} s"
    status = what["status"] or "no answer"
    return f"{where}: {what['method']} {what['service']} {what['path']}: {status} in {what['seconds']} s"
