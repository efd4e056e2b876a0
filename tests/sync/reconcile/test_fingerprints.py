"""What is compared of a contact; and where it is kept while it is."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcimport.convert import own_part
from mcimport.errors import StateError
from mcimport.models import Channels, Contact, HeldContact, SmsChannel
from mcimport.models.results import Difference
from mcimport.sync.reconcile.differences import DifferenceTable
from mcimport.sync.reconcile.fingerprints import OPTED_IN, Due, Fingerprinter, MemberSnapshot, differing, names_of

ADA: dict[str, Any] = {
    "email": "ada@example.com",
    "marketing_optin": "EXPLICITLY_OPTEDIN",
    "firstname": "Ada",
    "lastname": "Moreno",
}
DUE = Due(None, 100)
YES, NO = (Channels(sms=SmsChannel(allow_marketing=allowed)) for allowed in (True, False))
SMS_NO = {"allow_marketing": False, "allow_transactional": True}
NO_NUMBERS: list[Any] = ["", None, True, ["x"]]
NO_CHANNELS: list[Any] = [None, {}, [], "no", {"sms": None}, {"sms": []}, {"sms": {}}, {"sms": 1}]
OTHERS: list[Any] = [True, None, "no", 0, []]
UNLIKE_A_NO = [*NO_CHANNELS, *({"sms": {"allow_marketing": other}} for other in OTHERS)]


def contact(**more: Any) -> Contact:
    return Contact(type_="contact", collection="mailchimp", id="l-1", **{**ADA, **more})


def held(**more: Any) -> HeldContact:
    return HeldContact(collection="mailchimp", id="l-1", **{**ADA, **more})


def differences(ours: Contact, theirs: HeldContact, *, has_sms: bool = True) -> list[str]:
    versions = Fingerprinter()
    return names_of(differing(versions.of_contact(ours), versions.of_held(theirs), has_sms))


@pytest.mark.parametrize(
    ("ours", "theirs", "named"),
    [
        ({}, {}, []),
        ({}, {"marketing_optin": "EXPLICITLY_OPTEDOUT"}, ["consent"]),
        ({}, {"marketing_optin": None}, ["consent"]),
        ({}, {"marketing_optin": 7}, ["consent"]),
        ({}, {"email": "eva@example.com"}, ["email"]),
        ({}, {"email": " ADA@Example.com"}, []),
        ({}, {"email": None}, ["email"]),
        ({}, {"firstname": "Eva", "lastname": ""}, ["firstname", "lastname"]),
        ({"firstname": None}, {"firstname": "Eva"}, []),
        ({"prefix": "Dr"}, {"prefix": "Dr "}, []),
        ({"middlename": "M"}, {}, ["middlename"]),
        ({}, {"prefix": "Dr"}, []),
        ({"phone_number": "+447911123456"}, {"phone_number": "+44 7911-123456"}, []),
        ({"phone_number": "+447911123456"}, {"phone_number": 447911123456}, []),
        *(({"phone_number": "+447911123456"}, {"phone_number": other}, ["phone"]) for other in NO_NUMBERS),
        ({}, {"phone_number": "+447911123456"}, []),
        *(({"channels": ours}, {"channels": {"sms": SMS_NO}}, named) for ours, named in ((NO, []), (YES, ["sms"]))),
        *(({"channels": NO}, {"channels": other}, ["sms"]) for other in UNLIKE_A_NO),
        ({}, {"channels": {"sms": {"allow_marketing": True}}}, ["sms"]),
        ({}, {"channels": {"sms": SMS_NO}}, []),
        *(({}, {"channels": other}, []) for other in NO_CHANNELS),
    ],
)
def test_the_fields_that_differ_are_named(ours: dict[str, Any], theirs: dict[str, Any], named: list[str]) -> None:
    """Consent always; an address in any case; a name or number only where there is one to send.

    Who has no SMS status differs where Ometria holds a yes, and in nothing else.
    """
    assert differences(contact(**ours), held(**theirs)) == named


def test_on_a_list_without_sms_statuses_ometrias_own_yes_is_no_difference() -> None:
    """There it cannot have come from the list."""
    assert differences(contact(), held(channels={"sms": {"allow_marketing": True}}), has_sms=False) == []


@given(first=st.text(), last=st.text())
def test_names_that_are_the_same_never_differ(first: str, last: str) -> None:
    """Whatever is in them."""
    assert differences(contact(firstname=first, lastname=last), held(firstname=first, lastname=last)) == []


def test_a_version_tells_nobody_a_name_and_no_two_comparisons_alike() -> None:
    """Salted anew each time; consent alone stands there as it is."""
    one, other = Fingerprinter().of_contact(contact()), Fingerprinter().of_contact(contact())
    assert one[:8] == other[:8] == OPTED_IN
    assert one[8:32] != other[8:32]
    assert b"ada" not in one.lower()


@pytest.mark.parametrize(
    ("contact_id", "own"),
    [
        ("1a2d7ebf82-c0ffee", "c0ffee"),
        ("1a2d7ebf82-900000001", "900000001"),
        ("1a2d7ebf82-", None),
        ("1a2d7ebf82-C0FFEE", None),
        ("1a2d7ebf82-ada@example.com", None),
        ("1a2d7ebf82-null", None),
        ("1a2d7ebf8-c0ffee", None),
        ("shop-1", None),
        (7, None),
        (None, None),
    ],
)
def test_only_an_id_that_we_would_give_is_ours(contact_id: object, own: str | None) -> None:
    """Whatever else stands in the collection is foreign."""
    assert own_part(contact_id, "1A2d7ebf82") == own


def seen(own: str, version: bytes, changed: int | None = 1, *, is_archived: bool = False) -> MemberSnapshot:
    return MemberSnapshot(own, version, changed, is_whole=True, is_archived=is_archived)


def test_a_difference_that_is_gone_at_the_second_look_is_none(tmp_path: Path) -> None:
    """Missing and there, stale and mended, gone and back: nothing of that counts; what stays does."""
    versions = Fingerprinter()
    good, bad = versions.of_contact(contact()), versions.of_contact(contact(firstname="Eva"))
    with contextlib.closing(DifferenceTable(tmp_path)) as table:
        table.note_members(seen(own, good) for own in ("missing", "joins", "stale", "mended", "fine"))
        table.note_members([seen("late", good, 101), seen("archived", good, is_archived=True)])
        table.note_held([("stale", bad), ("mended", bad), ("fine", good), ("gone", good), ("back", good)])
        assert table.fill_suspects(DUE) == 6
        assert sorted(own for some in table.suspects(2) for own in some) == [
            *("back", "gone", "joins", "mended", "missing", "stale"),
        ]
        table.note_looked([seen("back", good)], ["gone"], [])
        table.forget_held()
        table.note_held([("joins", good), ("stale", bad), ("mended", good), ("gone", good), ("back", good)])
        table.settle(DUE)
        for kind in ("missing", "stale", "gone"):
            assert table.difference(kind, 9) == Difference(1, (kind,))
        assert table.tallies(DUE)["later"] == 1


def test_what_is_compared_lies_in_a_file_without_a_name_for_its_owner_alone(tmp_path: Path) -> None:
    """Mode 0600, in the folder's file system, and not to be found in the folder."""
    with contextlib.closing(DifferenceTable(tmp_path)) as table:
        table.note_members(seen(f"{number:032x}", bytes(48)) for number in range(2_000))
        assert list(tmp_path.iterdir()) == []
        (mode,) = {stat.S_IMODE(one.st_mode) for one in nameless_files(tmp_path)}
        assert mode == 0o600
    assert list(tmp_path.iterdir()) == []
    assert nameless_files(tmp_path) == []


def nameless_files(folder: Path) -> list[os.stat_result]:
    """What this process has open in that file system and nobody else can find; named by Linux as it was once called."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            if link.readlink().is_relative_to(folder) and not link.stat().st_nlink:
                found.append(link.stat())
    return found


def test_a_killed_process_leaves_nothing_of_it(tmp_path: Path) -> None:
    """SIGKILL while the file is full of digests: the folder is empty."""
    code = (
        "import os, pathlib, signal, sys\n"
        "from mcimport.sync.reconcile.differences import MemberSnapshot, DifferenceTable\n"
        "table = DifferenceTable(pathlib.Path(sys.argv[1]))\n"
        "table.note_members(MemberSnapshot(str(n), bytes(48), 1, True, False) for n in range(50_000))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    result = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert result.returncode == -signal.SIGKILL
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """In words, with what to look at."""
    with pytest.raises(StateError, match="comparison's temporary file") as raised:
        DifferenceTable(tmp_path / "nowhere")
    assert "enough free space" in raised.value.hint


def test_contacts_are_decoded_whatever_their_fields_hold() -> None:
    """Numbers, nulls and objects where a text is expected are differences, and no error."""
    raw = b'[{"@collection":1,"id":{},"email":[],"marketing_optin":{},"firstname":null}]'
    (one,) = msgspec.json.Decoder(list[HeldContact]).decode(raw)
    assert "consent" in differences(contact(), one)
