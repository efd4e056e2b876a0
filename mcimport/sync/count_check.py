"""Checks that as many members were shown, and read, as the list counts: far fewer are no success.

`{"members": [], "total_items": 0}` is a complete and valid answer: only another answer shows that it was wrong.
"""

from __future__ import annotations

from functools import partial

from mcimport.errors import RetriableError
from mcimport.errors.machine import beside
from mcimport.models import SWEEPS, Page, Sweep
from mcimport.models.records import Run
from mcimport.services.mailchimp.planning import first_page
from mcimport.state import run_windows
from mcimport.sync.list_run import ListRun

FAR_FEWER = 2  # a count this many times higher than what was shown is no count that merely lags behind
TOO_FEW_TO_TELL = 20  # members a run counted, below which half of them may well have left while it was read


class TooFewError(RetriableError):
    """Says that Mailchimp showed far too few members. Nothing of the run counts: the next one begins again."""

    def __init__(self, shown: int, counted: int | None) -> None:
        counts = "did not say how many there are" if counted is None else f"reported {counted:,}"
        super().__init__(
            f"Mailchimp returned {shown:,} members of the list, but {counts}",
            hint="The next sync reads the whole list again. If this happens again, check the list in Mailchimp.",
        )


def first_page_of_list(list_run: ListRun) -> Page:
    """Returns the first page of a whole list, after comparing it with what the list itself counts.

    Costs one request more; two, where they differ. Raises TooFewError, and what Mailchimp raises.
    """
    mailchimp, key, size = list_run.services.mailchimp, list_run.list_key, list_run.client.mailchimp.window
    with beside(partial(mailchimp.subscribed, key)) as count:
        page = first_page(mailchimp, key, "listed", None, size)
        counted = count()
    if not _is_enough(page, counted):
        page = first_page(mailchimp, key, "listed", None, size)
    if not _is_enough(page, counted):
        raise TooFewError(_shown(page), counted)
    return page


def check_read(list_run: ListRun, run: Run) -> None:
    """Raises TooFewError at the end of a run that has read less than half of the members counted at its beginning.

    Not where the others have changed since, so that the next run reads them, or are in a dead letter's span. Raises
    what Mailchimp raises.
    """
    is_read = run.members_read * FAR_FEWER >= run.members_total
    if is_read or run.windows_dead or run.members_total < TOO_FEW_TO_TELL:
        return
    mailchimp, key = list_run.services.mailchimp, list_run.list_key
    counted = mailchimp.subscribed(key) if run.kind == "full" else run.members_total
    if counted is None or run.until is None:
        return
    sweeps: tuple[Sweep, ...] = ("listed",) if run.kind == "full" else SWEEPS  # as they were counted
    if run.kind != "full":
        # The first count may hold those of the second `since` itself, whom a run does not read.
        starts = _starts(list_run, run)
        counted = min(counted, sum(mailchimp.probe(key, sweep, start, 1).total for sweep, start in starts.items()))
    counted -= sum(mailchimp.probe(key, sweep, run.until, 1).total for sweep in sweeps)
    if counted > max(run.members_read * FAR_FEWER, TOO_FEW_TO_TELL):
        raise TooFewError(run.members_read, counted)


def _starts(list_run: ListRun, run: Run) -> dict[Sweep, int | None]:
    """Returns the second with which the reading of each sweep of a run begins; None: it begins with the first member.

    They differ: members who were archived before the first sync are not read.
    """
    starts: dict[Sweep, int | None] = {}
    for row in run_windows.of_run(list_run.state, run.id):  # the earliest of a sweep is its first
        if row.letter_id is None:
            starts.setdefault(row.sweep, None if row.since is None else row.since + 1)
    return starts


def _is_enough(page: Page, counted: int | None) -> bool:
    shown = _shown(page)
    return shown > 0 if counted is None else shown * FAR_FEWER >= counted


def _shown(page: Page) -> int:
    return max(page.total, len(page.members))
