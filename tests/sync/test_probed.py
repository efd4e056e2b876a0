"""What a sync and a comparison use of the last probe: the careful reading alone, and not for ever."""

from __future__ import annotations

import time
from typing import Any

import pytest
from conftest import CONFIG, Importer, MakeImporter, expected_ids, imported_ids
from passing import time_passes

from mcimport.config import load
from mcimport.sandbox.request_log import Request
from mcimport.state import open_state, probes
from mcimport.state.probes import USED_FOR, ProbeAnswers
from mcimport.sync.probed import with_answers

NOW = int(time.time())
WRITE = ("--write", "--address", "operator@example.com", "--yes")


def probe(importer: Importer, *options: str) -> None:
    assert importer("probe", importer.sandbox.list_key, *options).code in (0, 3)


def answers(importer: Importer) -> ProbeAnswers | None:
    with open_state(importer.db) as state:
        return probes.latest(state, "acme", importer.sandbox.list_key)


def pages(importer: Importer) -> list[Request]:
    """The requests for pages of members since the last look."""
    found = [one for one in importer.sandbox.requests if one.path.endswith("/members") and one.query["count"] != "1"]
    importer.sandbox.clear_requests()
    return found


def test_a_size_of_page_that_came_is_asked_for_at_once_until_the_probe_is_old(make_importer: MakeImporter) -> None:
    """No page is refused for its size then; all members arrive either way."""
    importer = make_importer(size=300, max_page=130)
    importer.create_state_file()
    probe(importer)
    assert (found := answers(importer)) is not None
    assert (found.page_size, found.differs) == (125, ("mailchimp-page",))
    refused = []
    for waiting in (0, USED_FOR + 60):
        time_passes(waiting)
        pages(importer)
        assert importer("sync", "--full").code == 0
        refused.append(sum(one.status == 504 for one in pages(importer)))
        assert imported_ids(importer) >= expected_ids(importer)
    assert refused[0] == 0 < refused[1]


def test_a_size_that_does_not_come_any_more_is_forgotten_and_said(make_importer: MakeImporter) -> None:
    """The sync believes what it sees: it halves its pages, imports all members, and says where to ask again."""
    importer = make_importer(size=300, max_page=260)
    importer.create_state_file()
    probe(importer)
    importer.sandbox.settings.max_page = 130
    result = importer("sync")
    assert result.code == 0
    assert "pages of 250 members, which the last probe found, do not come any more" in result.err
    assert imported_ids(importer) == expected_ids(importer)
    assert answers(importer) is None
    assert "do not come" not in importer("sync").err


@pytest.mark.parametrize(
    ("before", "after", "fact"),
    [
        ({}, {"since_includes": True}, "mailchimp-since"),
        ({"before_includes": False}, {"before_includes": True}, "mailchimp-before"),
        ({}, {"edge_skew": -900.0}, "mailchimp-clock"),
        ({}, {"single_contacts": False}, "ometria-single"),
    ],
    ids=["since", "before", "clock", "single contacts"],
)
def test_a_run_that_sees_otherwise_than_the_last_probe_believes_what_it_sees_and_forgets_that(
    make_importer: MakeImporter, before: dict[str, Any], after: dict[str, Any], fact: str
) -> None:
    """Bounds, clock and single contacts: each member arrives under either reading, and what changed is named once."""
    importer = make_importer(size=100, **before)
    importer.configure(CONFIG + "mailchimp.window = 20\n")
    for second in range(300):  # one each second, so that windows end beside a member
        importer.sandbox.audience().add(email_address=f"member{second}@x.example", at=1_780_000_000 + second)
    assert importer("sync").code == 0
    probe(importer)
    assert fact not in importer("sync", "--full").err
    assert answers(importer) is not None
    for name, value in after.items():
        setattr(importer.sandbox.settings, name, value)
    importer.sandbox.clear_requests()
    result = importer("sync", "--full")
    assert result.code == 0
    assert f"{fact}, as the last probe found, is not so any more" in result.err
    sent = {one_id.partition("-")[2] for one in importer.sandbox.requests for one_id in one.ids}
    assert sent == expected_ids(importer)
    assert answers(importer) is None
    assert fact not in importer("sync", "--full").err


def test_a_probe_that_finds_full_pages_takes_back_what_an_earlier_one_found(make_importer: MakeImporter) -> None:
    """A later answer stands in the place of the earlier; what only writing tells stays known."""
    importer = make_importer(size=300, max_page=130)
    importer.create_state_file()
    probe(importer, *WRITE)
    importer.sandbox.settings.max_page = None
    before = answers(importer)
    probe(importer)
    after = answers(importer)
    assert before is not None
    assert after is not None
    assert (before.page_size, after.page_size, after.differs) == (125, None, ())
    assert after.settled_within == before.settled_within is not None


@pytest.mark.parametrize(
    ("found", "used"),
    [
        (ProbeAnswers(NOW, "0"), (200, 60)),
        (ProbeAnswers(NOW, "0", page_size=125, settled_within=25.0), (125, 75)),
        (ProbeAnswers(NOW, "0", page_size=500, settled_within=0.4), (200, 60)),
        (ProbeAnswers(NOW - USED_FOR - 60, "0", page_size=125, settled_within=25.0), (200, 60)),
        (ProbeAnswers(NOW + 3_600, "0", page_size=125, settled_within=25.0), (200, 60)),
    ],
    ids=["nothing found", "both careful", "both quick", "too old", "in the future"],
)
def test_only_smaller_pages_and_longer_waits_than_are_configured_are_used(
    make_importer: MakeImporter, found: ProbeAnswers, used: tuple[int, int]
) -> None:
    """Pushes get three times as long as the probe saw; what is quick, old, or of a clock that was ahead, is left."""
    importer = make_importer()
    importer.configure(CONFIG + "mailchimp.window = 200\n")
    importer.create_state_file()
    client = load(config=importer.config, db=importer.db).clients["acme"]
    with open_state(importer.db) as state:
        probes.note(state, "acme", importer.sandbox.list_key, found)
        client = with_answers(state, client, importer.sandbox.list_key)
    assert (client.mailchimp.window, client.reconcile.settling) == used


def test_check_and_status_tell_of_the_last_probe_until_the_list_is_forgotten(make_importer: MakeImporter) -> None:
    """How old it is, by which version, and what differed; without a state file it is said that nothing is kept."""
    importer = make_importer(size=20, newest_first=True, unstable_order=True)
    result = importer("probe", importer.sandbox.list_key)
    assert "the answers are not kept" in result.err
    assert not importer.db.exists()
    assert importer("sync").code == 0
    assert "probed" not in importer("check").out
    assert importer("status", "--json").line["probed_at"] is None
    probe(importer)
    time_passes(2 * 86_400)
    (line,) = [line for line in importer("check").out.splitlines() if "probed" in line]
    assert "probed 2 d ago, by mcimport " in line
    assert "1 fact differed: mailchimp-ties" in line
    status = importer("status", "--json").line
    assert (status["probed_at"][:2], status["probe_differs"]) == ("20", ["mailchimp-ties"])
    assert importer("forget", "acme", "--list", importer.sandbox.list_key, "--yes").code == 0
    assert answers(importer) is None
