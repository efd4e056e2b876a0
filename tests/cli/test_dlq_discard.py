"""Dead letters say how many members they are about, and whoever discards many types the number."""

from __future__ import annotations

import io
import sqlite3
from contextlib import closing

import pytest
from conftest import CONFIG, CommandResult, Importer, MakeImporter, WebhookReceiver, expected_ids, imported_ids
from msgspec.structs import replace
from passing import time_passes

from mcimport.models import NewDeadLetter, Outcome, Window
from mcimport.sandbox.request_log import Request
from mcimport.state import dead_letters, lists, open_state, retention, runs

SMALL_PAGES = CONFIG + "mailchimp.window = 100\n"
BAD_ADDRESS = "nobody at example.com"


class Keyboard(io.StringIO):
    """Standard input with a person at it."""

    def isatty(self) -> bool:
        return True


def half_a_list(make_importer: MakeImporter, config: str = SMALL_PAGES) -> tuple[Importer, int]:
    """After a first sync of which Ometria took one push alone; and how many it did not take, in letter 1."""
    importer = make_importer(size=150)
    importer.configure(config)
    assert import_half(importer).code == 3
    missing = len(expected_ids(importer)) - len(imported_ids(importer))
    assert missing > 20
    return importer, missing


def import_half(importer: Importer) -> CommandResult:
    """A sync of which Ometria takes the first push alone."""
    pushes: list[Request] = []

    def fault(one: Request) -> str | None:
        if one.path.endswith("/push"):
            pushes.append(one)
            return "500" if len(pushes) > 1 else None
        return None

    importer.sandbox.settings.fault = fault
    result = importer("sync", "--workers", "1")
    importer.sandbox.settings.fault = None
    return result


def on_the_list(importer: Importer) -> int:
    total: int = importer("runs", "show", "1", "--json").line["members_total"]
    return total


def in_words(importer: Importer, missing: int) -> str:
    return f"{missing} members, {missing * 100 // on_the_list(importer)}% of the list"


def is_open(importer: Importer) -> bool:
    return importer("dlq", "list", "--json").out != ""


def of_an_earlier_version(importer: Importer) -> None:
    """Its letters say no numbers."""
    with closing(sqlite3.connect(importer.db)) as state, state:
        state.execute("UPDATE dead_letters SET members = NULL")


# ---- how many


def test_a_letter_of_a_span_says_how_many_members_and_which_share_of_the_list(make_importer: MakeImporter) -> None:
    """As many as were read and not taken, and no more; the share is of what the full run counted."""
    importer, missing = half_a_list(make_importer)
    letter = importer("dlq", "list", "--json").line
    assert (letter["members"], letter["precision"], letter["list_members"]) == (
        missing,
        "exactly",
        on_the_list(importer),
    )
    assert in_words(importer, missing) in importer("dlq", "show", "1").out
    assert str(missing) in importer("dlq", "list").out.splitlines()[1].split()


def test_a_span_of_which_nothing_was_seen_is_about_as_many_as_were_planned(make_importer: MakeImporter) -> None:
    """Less those who were carried before; the letter says that it is not exact."""
    importer = make_importer(size=5)
    importer("sync")
    with open_state(importer.db) as state:
        window = Window(0, "listed", None, 100, count=60)
        run_id = runs.begin(state, lists.by_id(state, 1), "incremental", None, moves_sync_point=False)
        runs.plan(state, run_id, 100, 60, [window])
        rest = replace(window, through=50)
        runs.record(state, run_id, Outcome(window, rest, members=20))
        runs.record(
            state, run_id, Outcome(rest, letters=(NewDeadLetter("window", "transport", "listed", 50, 100, "no"),))
        )
    letter = importer("dlq", "list", "--json").line
    assert (letter["members"], letter["precision"]) == (40, "about")


def test_a_crowded_second_is_about_as_many_as_mailchimp_counts_less_those_who_were_taken(
    make_importer: MakeImporter,
) -> None:
    """What was not read of it is missing, too: more than the one page that Ometria did not take."""
    importer = make_importer(size=0)
    importer.configure(SMALL_PAGES)
    importer.sandbox.audience().join_in_second(400, importer.sandbox.clock.second() - 300)
    assert import_half(importer).code == 3
    letter = importer("dlq", "list", "--json").line
    missing = len(expected_ids(importer)) - len(imported_ids(importer))
    assert letter["precision"] == "about"
    assert 200 < missing <= letter["members"] <= 400 - len(imported_ids(importer))


def test_a_span_of_which_only_a_consent_was_not_sent_is_about_its_members(make_importer: MakeImporter) -> None:
    """A letter is never about nobody: who cannot be sent whole is missing in Ometria with their opt-out alone."""
    importer = make_importer(size=5)
    importer("sync")
    time_passes(600)
    large = {"MMERGE13": "x" * 70_000}
    importer.sandbox.audience().add(email_address="large@example.com", status="unsubscribed", merge_fields=large)
    time_passes(5)
    importer.sandbox.settings.fault = lambda one: "500" if one.path.endswith("/push") else None
    assert importer("sync").code == 3
    found = importer("dlq", "list", "--json").lines
    assert {one["kind"]: one["members"] for one in found} == {"contact": 1, "window": 1}


def test_one_broken_member_is_about_as_many_as_mailchimp_counts_in_their_second(make_importer: MakeImporter) -> None:
    """The others of that second are counted, too: they are carried by the replay alone."""
    importer = make_importer(size=50, broken=["10-10"])
    assert importer("sync").code == 3
    letter = importer("dlq", "list", "--json").line
    assert (letter["members"], letter["precision"]) == (1, "about")


def test_a_sync_that_left_many_out_does_not_say_that_everything_was_imported(make_importer: MakeImporter) -> None:
    """Nor that all is well but for one letter: it says how many members are missing."""
    importer = make_importer(size=150)
    importer.configure(SMALL_PAGES)
    said = import_half(importer).err
    words = in_words(importer, len(expected_ids(importer)) - len(imported_ids(importer)))
    assert f": imported, except {words} (1 dead letter), in " in said
    assert "everything" not in said
    assert f"1 dead letter ({words}): `mcimport dlq list`" in said


def test_a_webhook_is_told_how_many_members_dead_letters_are_about(
    make_importer: MakeImporter, receiver: WebhookReceiver
) -> None:
    """In words, and as a number for programs."""
    importer, missing = half_a_list(make_importer, f'[notify]\nwebhook_url = "{receiver.url}/hook"\n{SMALL_PAGES}')
    event = receiver.documents[-1]
    told = f"1 dead letter ({in_words(importer, missing)})"
    assert (event["reason"], event["dead_letter_members"]) == (told, missing)


# ---- discarding


@pytest.mark.parametrize("options", [(), ("--yes",), ("--yes", "--members", "7"), ("--members", "unknown")])
def test_many_members_are_not_discarded_without_their_number(
    make_importer: MakeImporter, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    """Exit 2, in words that name the number and what to type."""
    monkeypatch.setattr("sys.stdin", io.StringIO())
    importer, missing = half_a_list(make_importer)
    result = importer("dlq", "discard", "1", *options)
    assert result.code == 2
    assert f"1 dead letter ({missing} members" in result.err
    assert f"--yes --members {missing}" in result.err
    assert is_open(importer)


def test_many_members_are_discarded_by_their_number_and_status_says_so_until_a_full_sync(
    make_importer: MakeImporter,
) -> None:
    """A quiet hour changes nothing of it; a full sync brings them, and takes the word back. The exit code is 0."""
    importer, missing = half_a_list(make_importer)
    result = importer("dlq", "discard", "1", "--yes", "--members", str(missing))
    assert (result.code, is_open(importer)) == (0, False)
    assert f"1 dead letter ({missing} members" in result.err
    time_passes(600)
    assert importer("sync").code == 0
    shown = importer("status")
    assert (shown.code, f"{missing} members discarded" in shown.out) == (0, True)
    assert importer("status", "--json").line["discarded_members"] == missing
    assert importer("sync", "--full").code == 0
    assert "discarded" not in importer("status").out
    assert importer("status", "--json").line["discarded_members"] == 0
    assert imported_ids(importer) == expected_ids(importer)


@pytest.mark.parametrize(("typed", "is_left"), [("{}\n", False), ("y\n", True), ("\n", True), ("1\n", True)])
def test_the_person_at_the_terminal_types_how_many_are_discarded(
    make_importer: MakeImporter, monkeypatch: pytest.MonkeyPatch, typed: str, *, is_left: bool
) -> None:
    """A yes alone is quickly said."""
    importer, missing = half_a_list(make_importer)
    monkeypatch.setattr("sys.stdin", Keyboard(typed.format(missing)))
    result = importer("dlq", "discard", "1")
    assert result.code == 0
    question = f"Discard 1 dead letter ({in_words(importer, missing)}) for good?"
    assert f"{question} Type {missing} to discard: " in result.err
    assert is_open(importer) == is_left


def test_letters_of_an_earlier_version_are_about_an_unknown_number_and_that_is_no_handful(
    make_importer: MakeImporter,
) -> None:
    """It is said as unknown, everywhere, and has to be typed as such."""
    importer, _ = half_a_list(make_importer)
    of_an_earlier_version(importer)
    assert "unknown" in importer("dlq", "list").out
    result = importer("dlq", "discard", "1", "--yes")
    assert (result.code, "an unknown number of members" in result.err) == (2, True)
    assert importer("dlq", "discard", "1", "--yes", "--members", "100").code == 2
    assert importer("dlq", "discard", "1", "--yes", "--members", "unknown").code == 0
    assert "an unknown number of members discarded" in importer("status").out
    assert importer("status", "--json").line["discarded_members"] is None


def test_letters_of_members_count_one_each(make_importer: MakeImporter) -> None:
    """Twenty are a handful, and one more is not."""
    importer = make_importer(size=5)
    for _ in range(21):
        importer.sandbox.audience().add(email_address=BAD_ADDRESS)
    importer("sync")
    ids = [str(number) for number in range(1, 22)]
    result = importer("dlq", "discard", "--yes", *ids)
    assert (result.code, "21 dead letters (21 members" in result.err) == (2, True)
    assert importer("dlq", "discard", "--yes", *ids[1:]).code == 0
    assert importer("status", "--json").line["discarded_members"] == 20


def test_what_was_discarded_and_never_made_good_outlives_the_log(make_importer: MakeImporter) -> None:
    """The retention of old runs does not end what `status` says; a full run does."""
    importer = make_importer(size=5)
    importer("sync")
    with open_state(importer.db) as state:
        row, window = lists.by_id(state, 1), Window(0, "listed", None, 100)
        run_id = runs.begin(state, row, "incremental", None, moves_sync_point=False)
        runs.plan(state, run_id, 100, 40, [window])
        letter = NewDeadLetter("window", "transport", "listed", None, 100, "no", members=40, precision="at least")
        runs.record(state, run_id, Outcome(window, letters=(letter,)))
        runs.finish(state, run_id, "completed")
        dead_letters.close(state, "discarded", [1])
    time_passes(400 * 86_400)
    with open_state(importer.db) as state:
        retention.prune(state, 86_400)
    assert "at least 40 members discarded" in importer("status").out
    importer("sync", "--full")
    assert "discarded" not in importer("status").out
