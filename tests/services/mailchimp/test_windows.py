"""Windows: wherever the cuts fall and whatever moves between two pages, everybody of the span is delivered once."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from mcimport.errors import RetriableError
from mcimport.models import Bounds, Member, Page, Window
from mcimport.models.timestamps import iso
from mcimport.services.mailchimp import pagination, same_second, windows

T = 1_700_000_000
UNTIL = T + 20
NOW = UNTIL + 2  # nobody who changes while a run reads is dated earlier than this
MOST_DOUBTS = 5
INSISTED = 4
RETRIES = 5

moderate = settings(derandomize=True, deadline=None, max_examples=120)
few = settings(derandomize=True, deadline=None, max_examples=60)


# ---- a list that answers as the API does, and a reader that walks over it as the importer does


@dataclass
class Audience:
    """Members by name, each with the second of the last change; answers like `GET /lists/{list_id}/members`.

    Attributes:
        leaving: who changes at the first answer, at the second, …; None: nobody does.
        mid_page: they change between the choice of a page and its writing, not after it.
        most: members that a page holds at most, whatever was asked for.
        lies: added to the first count, the second, … and over again.
        shuffled: equals stand in another order in every answer.
    """

    moments: dict[str, int]
    bounds: Bounds = field(default_factory=lambda: Bounds(since_includes=False, before_includes=True))
    leaving: list[str | None] = field(default_factory=list)
    mid_page: bool = False
    most: int | None = None
    lies: Sequence[int] = (0,)
    shuffled: random.Random | None = None
    answers: int = 0
    gone: set[str] = field(default_factory=set)

    def ask(self, window: Window, count: int, offset: int = 0) -> Page:
        since, before = windows.asked_since(window), windows.asked_before(window)
        first = None if since is None else since + (not self.bounds.since_includes)
        last = before - (not self.bounds.before_includes)
        found = [who for who, at in self.moments.items() if at <= last and (first is None or at >= first)]
        chosen = self._sorted(found)[offset : offset + min(count, self.most or count)]
        total = max(0, len(found) + self.lies[self.answers % len(self.lies)])
        if self.mid_page:
            self._somebody_leaves()
        page = Page(tuple(self._member(who) for who in chosen), total, count)
        if not self.mid_page:
            self._somebody_leaves()
        self.answers += 1
        return page

    def _sorted(self, found: Iterable[str]) -> list[str]:
        chance = self.shuffled
        return sorted(found, key=lambda who: (self.moments[who], chance.random() if chance else 0, who))

    def _member(self, who: str) -> Member:
        return Member(contact_id=who, last_changed=iso(self.moments[who]))

    def _somebody_leaves(self) -> None:
        who = self.leaving[self.answers] if self.answers < len(self.leaving) else None
        if who is not None:
            self.moments[who] = NOW
            self.gone.add(who)


@dataclass
class Reader:
    """Walks windows to their end and keeps what was delivered, with the pieces of work and the passes it took."""

    audience: Audience
    delivered: list[Member] = field(default_factory=list)
    pieces: int = 0
    passes: int = 0

    def walk(self, window: Window) -> Bounds:
        """Returns what was learned of the bounds, for the windows that follow."""
        rest: Window | None = window
        while rest is not None:
            self.pieces += 1
            assert self.pieces < 1_000, "the walk does not end"
            window, rest = rest, self._one_page(rest)
        return window.bounds

    def _one_page(self, window: Window) -> Window | None:
        settled, asked = self._settled(window)
        rest = replace(settled.rest, page=asked)
        if settled.verdict == "crowded":
            self._crowded_second(rest, settled.second)
            rest = replace(rest, through=settled.second)
        else:
            self.delivered.extend(settled.kept)
        over = settled.verdict == "over" or (rest.through is not None and rest.through >= rest.until)
        return None if over else rest

    def _settled(self, window: Window) -> tuple[pagination.PageSplit, int]:
        asked = window.page
        page = self._checked(window, asked)
        settled = pagination.split_page(window, page, asked)
        for _ in range(MOST_DOUBTS):
            if settled.verdict != "short":
                break
            page, asked = self._doubted(window, page, asked)
            settled = pagination.split_page(window, page, asked)
        assert settled.verdict != "short"
        return settled, asked

    def _doubted(self, window: Window, page: Page, asked: int) -> tuple[Page, int]:
        again = page
        for _ in range(1 if page.members else INSISTED):
            again = self._checked(window, asked)
            if again.members or not again.total:
                break
        if names(again) != names(page):
            return again, asked
        size = len(again.members)
        if not size:
            return replace(again, total=0), asked
        if self._checked(window, asked, size).members:
            return again, size
        still = self._checked(
            window, asked
        )  # had somebody left meanwhile, those behind would have slid past the offset
        return (replace(again, total=size) if names(still) == names(again) else still), asked

    def _crowded_second(self, window: Window, second: int) -> None:
        span = replace(window, since=second - 1, through=None, until=second)
        crowd = same_second.SameSecondReader(second, self.audience.ask(span, 1).total)
        while crowd.passes < crowd.MOST_PASSES:
            crowd.begin_pass()
            self.passes += 1
            for offset, page in self._pass(span, crowd):
                self.delivered.extend(crowd.take(page.members, offset))
            if crowd.end_pass():
                return
        raise AssertionError("the crowded second was not settled")

    def _pass(self, span: Window, crowd: same_second.SameSecondReader) -> Iterable[tuple[int, Page]]:
        size = span.page
        top = max(0, (crowd.count - 1) // size * size)
        page = self._checked(span, size, top)
        while len(page.members) >= size:
            top += size
            page = self._checked(span, size, top)
        crowd.at_least(top + len(page.members))
        yield top, page
        for offset in range(top - size, -1, -size):
            yield offset, self._checked(span, size, offset)

    def _checked(self, window: Window, asked: int, offset: int = 0) -> Page:
        """Asked again, as the importer does, where the only row of a page changed while it was written."""
        for _ in range(RETRIES):
            page = self.audience.ask(window, asked, offset)
            with suppress(RetriableError):
                pagination.check_page(window, page, asked, offset)
                return page
        raise AssertionError("the same question was never answered")


def names(page: Page) -> list[object]:
    return [pagination.identity(member) for member in page.members]


def within(moments: dict[str, int], since: int | None, until: int = UNTIL) -> set[str]:
    return {who for who, at in moments.items() if at <= until and (since is None or at > since)}


def read(audience: Audience, planned: Iterable[Window]) -> Reader:
    """All windows of a plan, one after another; what one learns of the bounds the next one knows."""
    reader, learned = Reader(audience), Bounds()
    for window in planned:
        learned |= reader.walk(replace(window, bounds=learned))
    return reader


def delivers_everybody_once(reader: Reader, expected: set[str], since: int | None) -> None:
    """Everybody who stayed came exactly once, who left at most once, and nobody from outside the span at all."""
    came = Counter(member.contact_id for member in reader.delivered)
    stayed = expected - reader.audience.gone
    assert {who: came[who] for who in stayed} == dict.fromkeys(stayed, 1)
    assert set(came) <= expected
    assert max(came.values(), default=0) <= 1
    seconds = {member.last_changed for member in reader.delivered}
    assert seconds <= {iso(second) for second in range((T - 10 if since is None else since) + 1, UNTIL + 1)}


MOMENTS = st.lists(
    st.one_of(st.integers(T - 5, UNTIL + 1), st.sampled_from([T, T + 1, T + 7, UNTIL, UNTIL + 1])), max_size=45
).map(lambda seconds: {f"m{number:02}": second for number, second in enumerate(seconds)})
SINCE = st.one_of(st.none(), st.integers(T - 3, UNTIL - 1))
BOUNDS = st.builds(Bounds, st.booleans(), st.booleans())
PAGES = st.one_of(st.integers(1, 12), st.integers(13, 60))
LIES = st.lists(st.integers(-40, 40), min_size=1, max_size=4)


@st.composite
def cuts_of(draw: st.DrawFn) -> list[tuple[int, int | None]]:
    """Cuts as wrong as can be: out of the span, equal, missing, in no order."""
    offsets = draw(st.lists(st.integers(0, 80), unique=True, max_size=8))
    moments = st.one_of(st.none(), st.integers(T - 8, UNTIL + 8))
    return [(offset, draw(moments)) for offset in offsets]


def leavers(moments: dict[str, int]) -> st.SearchStrategy[list[str | None]]:
    """Four at most: as many as a page that is short of its count may be looked at again for."""
    who = st.sampled_from(sorted(moments)) if moments else st.none()
    some = st.lists(st.tuples(st.integers(0, 12), who), max_size=4)
    return some.map(_at_their_answers)


def _at_their_answers(pairs: list[tuple[int, str | None]]) -> list[str | None]:
    at = dict(pairs)
    return [at.get(number) for number in range(max(at, default=-1) + 1)]


# ---- cuts


@moderate
@given(SINCE, cuts_of(), st.integers(0, 90))
def test_windows_tile_the_span_wherever_the_cuts_are(
    since: int | None, cuts: list[tuple[int, int | None]], total: int
) -> None:
    """The first begins where the span does, the last ends where it does, and no second is between two or in two."""
    planned = windows.split_at("listed", (since, UNTIL), cuts, total)
    assert (planned[0].since, planned[-1].until) == (since, UNTIL)
    assert [one.until for one in planned[:-1]] == [one.since for one in planned[1:]]
    assert all(one.since is None or one.since < one.until for one in planned)
    assert {one.sweep for one in planned} == {"listed"}
    assert min(one.count for one in planned) >= 0


def test_a_cut_at_the_first_second_of_1970_is_a_cut_like_any_other() -> None:
    """Second 0 is a time, not the absence of one: the windows on both sides of it meet and do not overlap."""
    planned = windows.split_at("listed", (None, 10), [(3, 0)], 6)
    assert [(one.since, one.until) for one in planned] == [(None, 0), (0, 10)]


def test_a_second_with_several_cuts_is_a_window_of_its_own_and_a_window_knows_its_place_in_the_list() -> None:
    """It takes the longest, so it waits for no other; each says from which offset on and about how many it held."""
    planned = windows.split_at("archived", (None, UNTIL), [(90, T), (180, T), (270, T + 5), (360, None)], 400)
    assert [(one.since, one.until, one.offset, one.count) for one in planned] == [
        (None, T - 1, 0, 90),
        (T - 1, T, 90, 90),
        (T, T + 5, 180, 90),
        (T + 5, UNTIL, 270, 130),
    ]


@moderate
@given(st.one_of(st.integers(0, 3_000), st.integers(0, 50_000_000)), st.integers(1, 1000), st.integers(1, 20))
def test_a_list_is_cut_into_a_window_for_each_connection_or_forty_if_it_is_long(
    total: int, page: int, connections: int
) -> None:
    """Evenly spaced, at least nine tenths of a page apart (one member, where a page holds one), none beyond the end."""
    offsets = windows.offsets(total, page, connections)
    is_long = total > windows.LONG * page * connections
    assert len(offsets) < (windows.MOST_PIECES if is_long else connections)
    assert all(0 < offset < total for offset in offsets)
    steps = {later - earlier for earlier, later in zip([0, *offsets], offsets, strict=False)}
    assert len(steps) <= 1
    assert all(step >= max(1, page * 9 // 10) for step in steps)


def test_a_page_that_is_too_slow_is_halved_down_to_fifty() -> None:
    """A thousand becomes 500, 250, 125, 62, 50, and stays there."""
    sizes = [1000]
    while sizes[-1] > pagination.SMALLEST_PAGE:
        sizes.append(pagination.half(sizes[-1]))
    assert sizes == [1000, 500, 250, 125, 62, 50]
    assert pagination.half(50) == 50


# ---- the walk


@moderate
@given(st.data(), MOMENTS, SINCE, cuts_of(), BOUNDS, PAGES, st.booleans())
def test_everybody_of_the_span_is_delivered_once_whoever_leaves_meanwhile(
    data: st.DataObject,
    moments: dict[str, int],
    since: int | None,
    cuts: list[tuple[int, int | None]],
    bounds: Bounds,
    size: int,
    mid_page: bool,  # noqa: FBT001 - Hypothesis hands all by place
) -> None:
    """Under all four combinations of bounds, any page size, any cuts: who stays comes once, no stranger does."""
    expected = within(moments, since)
    audience = Audience(dict(moments), bounds, data.draw(leavers(moments)), mid_page)
    planned = [replace(one, page=size) for one in windows.split_at("listed", (since, UNTIL), cuts, len(moments))]
    reader = read(audience, planned)
    delivers_everybody_once(reader, expected, since)
    # A piece of work ends a second at least; a window has one more for its end and one for each bound it learns.
    assert reader.pieces <= len(set(moments.values())) + len(planned) + 2


@moderate
@given(st.data(), MOMENTS, SINCE, BOUNDS, PAGES, LIES)
def test_counts_that_lie_cost_requests_but_nobody(
    data: st.DataObject, moments: dict[str, int], since: int | None, bounds: Bounds, size: int, lies: list[int]
) -> None:
    """Too low or too high, always or now and then: who stays is delivered once all the same."""
    expected = within(moments, since)
    audience = Audience(dict(moments), bounds, data.draw(leavers(moments)), lies=lies)
    reader = read(audience, [Window(0, "listed", since, UNTIL, page=size)])
    delivers_everybody_once(reader, expected, since)


@moderate
@given(st.data(), MOMENTS, SINCE, BOUNDS, PAGES, st.integers(1, 20), st.integers(0, 9))
def test_a_server_that_cuts_its_pages_short_is_read_to_the_end(
    data: st.DataObject,
    moments: dict[str, int],
    since: int | None,
    bounds: Bounds,
    size: int,
    most: int,
    lie: int,
) -> None:
    """A page shorter than asked for is never the end by itself, also where the count is too high besides."""
    expected = within(moments, since)
    audience = Audience(dict(moments), bounds, data.draw(leavers(moments)), most=most, lies=[lie])
    reader = read(audience, [Window(0, "listed", since, UNTIL, page=size)])
    delivers_everybody_once(reader, expected, since)


@moderate
@given(st.data(), SINCE, BOUNDS, st.integers(0, 999))
def test_an_order_among_equals_that_changes_with_every_answer_moves_nobody_past_the_reader(
    data: st.DataObject, since: int | None, bounds: Bounds, seed: int
) -> None:
    """Where no second fills a page, a page is believed up to its last whole second only: once each, in any order."""
    sizes = data.draw(st.lists(st.integers(0, 4), min_size=24, max_size=24))
    moments = {f"{second}-{n}": T - 3 + second for second, size in enumerate(sizes) for n in range(size)}
    expected = within(moments, since)
    audience = Audience(dict(moments), bounds, data.draw(leavers(moments)), shuffled=random.Random(seed))  # noqa: S311 - repeatable, not secret
    reader = read(audience, [Window(0, "listed", since, UNTIL, page=data.draw(st.integers(9, 30)))])
    delivers_everybody_once(reader, expected, since)


@few
@given(BOUNDS, st.integers(1, 9), st.integers(0, 40))
def test_a_bound_is_learned_only_when_it_is_true(bounds: Bounds, size: int, crowd: int) -> None:
    """Whatever the walk comes to believe of the bounds is how they are."""
    seconds = [T - 1, T, T, T + 1, UNTIL, UNTIL, UNTIL + 1, *[T + 3] * crowd]
    audience = Audience({f"m{number}": second for number, second in enumerate(seconds)}, bounds)
    learned = Reader(audience).walk(Window(0, "listed", T, UNTIL, page=size))
    assert learned | bounds == bounds


def test_members_at_the_bounds_teach_that_these_are_included_and_the_next_question_is_narrower() -> None:
    """A member at `since`, one a second after `until`: from then on neither is asked for again."""
    window = Window(0, "listed", T, UNTIL, page=4)
    assert (windows.asked_since(window), windows.asked_before(window)) == (T, UNTIL + 1)
    page = Page(tuple(dated(T, T + 1, T + 2, UNTIL + 1)), 9, 4)
    rest = pagination.split_page(window, page, 4).rest
    assert rest.bounds == Bounds(since_includes=True, before_includes=True)
    rest = replace(rest, through=T)
    assert (windows.asked_since(rest), windows.asked_before(rest)) == (T + 1, UNTIL)


def test_a_window_from_the_beginning_of_the_list_asks_for_no_beginning() -> None:
    """Without `since` there is nothing to ask for, whatever is known of the bounds."""
    window = Window(0, "listed", None, UNTIL, bounds=Bounds(since_includes=True, before_includes=True))
    assert windows.asked_since(window) is None


# ---- what a page says


def dated(*moments: int) -> list[Member]:
    return [Member(contact_id=f"c{number}", last_changed=iso(moment)) for number, moment in enumerate(moments)]


UNDATED = Member(contact_id="undated", last_changed="")


@pytest.mark.parametrize(
    ("members", "total", "asked", "fits"),
    [(3, 3, 10, True), (3, 2, 10, False), (3, 4, 10, False), (10, 10, 10, False), (0, 0, 10, True), (0, 1, 10, False)],
)
def test_only_a_page_with_room_to_spare_that_holds_all_it_counts_is_all_there_is(
    members: int,
    total: int,
    asked: int,
    fits: bool,  # noqa: FBT001 - a column of the table
) -> None:
    """Fewer members than asked for, and just as many as the answer counts: both must hold."""
    page = Page(tuple(dated(*[T] * members)), total, asked)
    assert pagination.fits_in_one(page, asked) is fits


def test_a_full_page_is_believed_up_to_its_last_whole_second() -> None:
    """The last second may be cut off: it is left for the rest, which begins just before it."""
    settled = pagination.split_page(Window(0, "listed", None, UNTIL), Page(tuple(dated(T, T, T + 2, T + 4)), 9, 4), 4)
    assert (settled.verdict, len(settled.kept), settled.rest.through) == ("more", 3, T + 3)


def test_a_row_newer_than_the_order_it_stands_in_neither_ends_a_window_nor_is_delivered() -> None:
    """Who changed between choice and writing belongs to the next run; the rows around them count as they stand."""
    page = Page(tuple(dated(T, NOW, T + 2, T + 4)), 9, 4)
    window = Window(0, "listed", None, UNTIL, page=4)
    pagination.check_page(window, page, 4)
    settled = pagination.split_page(window, page, 4)
    assert [member.contact_id for member in settled.kept] == ["c0", "c2"]
    assert (settled.verdict, settled.rest.through) == ("more", T + 3)


def test_a_member_without_a_time_is_delivered_with_the_page_that_shows_them() -> None:
    """However the page ends (whole, cut off, nobody else in it), who has no time is in what is kept."""
    window = Window(0, "listed", None, UNTIL)
    for members, total, asked in (([*dated(T), UNDATED], 2, 9), ([UNDATED, *dated(T, T + 1)], 9, 3), ([UNDATED], 9, 1)):
        assert UNDATED in pagination.split_page(window, Page(tuple(members), total, asked), asked).kept


def test_a_full_page_of_nobody_but_members_without_a_time_is_never_taken_for_the_end() -> None:
    """Three who have no time stand first, pages hold three: whoever stands behind them must not be written off."""
    window = Window(0, "listed", None, UNTIL, page=3)
    nameless = tuple(Member(contact_id=f"u{number}", last_changed=None) for number in range(3))
    settled = pagination.split_page(window, Page(nameless, 9, 3), 3)
    assert settled.kept == nameless
    assert settled.verdict != "over"


def test_a_first_page_that_is_the_whole_job_delivers_also_whom_until_does_not_cover_yet() -> None:
    """Only who is not newer than `since` is left out; the next run's overlap repeats the newest."""
    page = Page((*dated(T, T + 1, NOW), UNDATED), 4, 10)
    whole = pagination.whole_page(Window(0, "listed", T, UNTIL), page)
    assert [member.contact_id for member in whole] == ["c1", "c2", "undated"]
    assert len(pagination.whole_page(Window(0, "listed", None, UNTIL), page)) == 4


# ---- what cannot be an answer


@pytest.mark.parametrize(
    ("moments", "said"),
    [((T - 1, T + 1), "since_last_changed"), ((T + 2, T + 1), "sort_field"), ((UNTIL + 5, UNTIL + 6), "full page")],
)
def test_an_answer_to_another_question_is_an_error_to_try_again(moments: tuple[int, ...], said: str) -> None:
    """Older than asked for, in another order, a full page of strangers: never believed, never "nobody"."""
    with pytest.raises(RetriableError, match=said):
        pagination.check_page(Window(0, "listed", T, UNTIL), Page(tuple(dated(*moments)), 9, 2), 2)


@pytest.mark.parametrize("moments", [(T, T), (UNTIL + 1, UNTIL + 1)])
def test_a_full_page_at_a_bound_is_an_answer_because_it_teaches_something(moments: tuple[int, ...]) -> None:
    """Nobody of the span is in it, but from it is learned how to ask."""
    window = Window(0, "listed", T, UNTIL, page=2)
    page = Page(tuple(dated(*moments)), 9, 2)
    pagination.check_page(window, page, 2)
    settled = pagination.split_page(window, page, 2)
    assert (settled.verdict, settled.kept, settled.rest.through) == ("more", (), None)
    assert settled.rest.bounds != window.bounds


def test_what_was_learned_already_does_not_make_a_page_of_strangers_an_answer() -> None:
    """Otherwise the same full page could be asked for without end."""
    known = Bounds(since_includes=True, before_includes=True)
    with pytest.raises(RetriableError, match="full page"):
        pagination.check_page(Window(0, "listed", T, UNTIL, bounds=known), Page(tuple(dated(T, T)), 9, 2), 2)


# ---- a second larger than a page


@few
@given(st.integers(1, 70), st.integers(1, 15), st.lists(st.integers(0, 69), max_size=40), st.booleans())
def test_one_pass_sees_everybody_who_stays_in_a_crowded_second(
    crowd: int,
    size: int,
    leaving: list[int],
    mid_page: bool,  # noqa: FBT001 - Hypothesis hands all by place
) -> None:
    """Whoever leaves, the order of the others holds: from the last page to the first, one pass meets all of them."""
    moments = {f"m{number:02}": T for number in range(crowd)}
    gone: list[str | None] = [None, *(f"m{number:02}" if number < crowd else None for number in leaving)]
    audience = Audience(dict(moments), leaving=gone, mid_page=mid_page)
    reader = Reader(audience)
    reader._crowded_second(Window(0, "listed", None, UNTIL, page=size), T)
    came = Counter(member.contact_id for member in reader.delivered)
    stayed = set(moments) - audience.gone
    assert {who: came[who] for who in stayed} == dict.fromkeys(stayed, 1)
    assert reader.passes <= 2  # the second only to see that nobody is new


def test_a_crowded_second_in_which_nothing_moves_takes_one_pass() -> None:
    """As many different members in one pass as the first answer counted: nobody can be missing."""
    reader = Reader(Audience({f"m{number}": T for number in range(100)}))
    reader.walk(Window(0, "listed", None, UNTIL, page=10))
    assert (reader.passes, len(reader.delivered)) == (1, 100)


def lost_in_a_shuffled_second(seed: int, *, crowd: int, size: int, lie: int = 0, leaving: int = 0) -> set[str]:
    """Who stayed, and was not delivered, though the reader took the second for settled."""
    moments = {f"m{number}": T for number in range(crowd)}
    chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
    gone: list[str | None] = [None, *(f"m{chance.randrange(crowd)}" for _ in range(leaving))]
    audience = Audience(dict(moments), leaving=gone, lies=[lie], shuffled=chance)
    reader = Reader(audience)
    reader._crowded_second(Window(0, "listed", None, UNTIL, page=size), T)
    return set(moments) - audience.gone - {str(member.contact_id) for member in reader.delivered}


@pytest.mark.parametrize(("crowd", "size"), [(60, 30), (60, 10), (150, 50)])
def test_an_order_that_changes_with_every_answer_hides_nobody_of_a_crowded_second(crowd: int, size: int) -> None:
    """Passes that find nobody new prove nothing while somebody who was counted was never seen."""
    assert [seed for seed in range(100) if lost_in_a_shuffled_second(seed, crowd=crowd, size=size)] == []


def test_an_order_that_changes_hides_nobody_while_some_leave_the_crowded_second() -> None:
    """Who left cannot be told from who was never met, so more than a pass or two must go by without a new face."""
    lost = [seed for seed in range(100) if lost_in_a_shuffled_second(seed, crowd=60, size=20, leaving=5)]
    assert lost == []


def test_a_count_that_is_too_low_hides_nobody_of_a_crowded_second_whose_order_changes() -> None:
    """The pages themselves show that there are more than were counted."""
    assert [seed for seed in range(100) if lost_in_a_shuffled_second(seed, crowd=60, size=20, lie=-25)] == []


def test_a_crowd_that_always_shows_somebody_new_is_never_said_to_be_settled() -> None:
    """However many passes: the caller gives up after 25 and says so, it is not told that all were seen."""
    crowd = same_second.SameSecondReader(T, 1_000)
    for number in range(crowd.MOST_PASSES):
        crowd.begin_pass()
        crowd.take([Member(contact_id=f"c{number}", last_changed=iso(T))], 0)
        assert not crowd.end_pass()
    assert (crowd.passes, crowd.MOST_PASSES) == (25, 25)


def test_a_crowd_hands_out_each_member_once_and_nobody_of_another_second() -> None:
    """Neighbours that an inclusive bound brings along are not this second's."""
    crowd = same_second.SameSecondReader(T, 2)
    crowd.begin_pass()
    page = [*dated(T, T), Member(contact_id="neighbour", last_changed=iso(T - 1))]
    assert [member.contact_id for member in crowd.take(page, 0)] == ["c0", "c1"]
    assert crowd.take(page, 0) == []


def test_a_member_without_a_time_in_a_crowded_second_is_handed_out_once() -> None:
    """The crowd's pages are the only ones that ever show them."""
    crowd = same_second.SameSecondReader(T, 3)
    crowd.begin_pass()
    assert UNDATED in crowd.take([*dated(T), UNDATED], 0)
    assert crowd.take([UNDATED], 0) == []


def test_members_are_told_apart_by_the_first_name_they_have() -> None:
    """`contact_id`, else `web_id`, else the address; an empty one is none."""
    assert pagination.identity(Member(contact_id="", web_id=7, email_address="a@example.com")) == 7
    assert pagination.identity(Member(email_address="a@example.com")) == "a@example.com"
    assert pagination.identity(Member(contact_id="c", web_id=7)) == "c"
    assert pagination.identity(Member()) is None


@given(
    st.lists(st.one_of(st.none(), st.integers(T - 3, T + 6)), max_size=7),
    st.booleans(),
    st.integers(T - 2, T + 4),
    st.none() | st.integers(T - 2, T + 3),
    st.integers(1, 8),
    st.integers(-1, 2),
)
def test_a_plain_page_is_settled_like_any_other(
    moments: list[int | None],
    ordered: bool,  # noqa: FBT001 - Hypothesis hands all by place
    until: int,
    since: int | None,
    asked: int,
    lie: int,
) -> None:
    """The short way for nearly every page comes to what the long way comes to."""
    if ordered:
        moments.sort(key=lambda moment: (moment is None, moment))
    members = tuple(
        Member(contact_id=f"c{n}", last_changed=None if moment is None else iso(moment))
        for n, moment in enumerate(moments)
    )
    page = Page(members, max(0, len(members) + lie), asked)
    window = Window(0, "listed", since, until)
    assert pagination.split_page(window, page, asked) == pagination._split_any_page(window, page, asked)
