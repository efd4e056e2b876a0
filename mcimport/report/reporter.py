"""The events of a call, as the runs report them; each reporter decides how they look."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from mcimport.models import Outcome, RunKind
from mcimport.models.results import ListResult
from mcimport.models.retries import Retry


class Reporter:
    """Receives the events of a call, from the threads of several clients at once; each event names its list.

    Ignores them all: for `mcimport.run`, and as a base for reporters that ignore some.
    """

    def begun(self, client: str, list_key: str, run_id: int) -> None:
        """Reports that a run was recorded under its number."""

    def planned(
        self, client: str, list_key: str, kind: RunKind, total: int, windows: int, *, read: int = 0, done: int = 0
    ) -> None:
        """Reports that a run was planned: about `total` members in so many windows; 0 and 0: nothing has changed.

        `read`, `done`: how many of these members and windows an earlier call has processed, whose run is resumed.
        """

    def page_recorded(self, client: str, list_key: str, outcome: Outcome) -> None:
        """Reports that a page was recorded."""

    def reads_back(self, client: str, list_key: str, total: int) -> None:
        """Reports that a pass over Ometria's contacts begins; about `total` of them are this list's."""

    def read_back(self, client: str, list_key: str, contacts: int, of_list: int, *, is_last: bool = False) -> None:
        """Reports that so many contacts were read back, `of_list` of them this list's; `is_last`: that is all."""

    def step(self, client: str, list_key: str, words: str) -> None:
        """Reports what the run does from now on that is not counted in pages; empty: nothing."""

    def settles(self, client: str, list_key: str, seconds: float) -> None:
        """Reports that the run waits so long for Ometria to validate what was pushed; the next `step` ends that."""

    def accepted(self, client: str, list_key: str, contacts: int) -> None:
        """Reports that Ometria accepted so many contacts of pages that are not recorded yet, from any thread."""

    def looks_up(self, client: str, list_key: str, contacts: int) -> None:
        """Reports that so many more contacts are being looked up one by one in Ometria; below 0: that so many were."""

    def retries(self, client: str, list_key: str, retry: Retry | None) -> None:
        """Reports that this thread will send a request again; None: the request has ended, well or not."""

    def requests(self, client: str, list_key: str, service: str, change: int) -> None:
        """Reports by how much the number of requests rises that wait for a response of "Mailchimp" or "Ometria"."""

    def finishes(self, client: str, list_key: str, pages: int) -> None:
        """Reports, once a stop was requested, how many pages of the run may still end."""

    def waits(self, client: str, list_key: str, words: str) -> None:
        """Reports that a run has begun to wait, and why."""

    def ended(self, result: ListResult) -> None:
        """Reports that the work of this call on a list has ended, well or not."""

    def paused(self) -> AbstractContextManager[None]:
        """Returns a context manager in which nothing is drawn, because a question is asked."""
        return nullcontext()
