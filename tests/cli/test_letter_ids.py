"""Ranges of dead letters, and those of one client: shown, discarded and replayed together."""

from __future__ import annotations

import pytest
from conftest import Importer, MakeImporter, configure_clients

from mcimport.cli.letter_ids import parse_ids
from mcimport.errors import ConfigError

BAD_ADDRESS = "nobody at example.com"


def with_letters(make_importer: MakeImporter, *numbers: int) -> Importer:
    """Clients a, b ... after a sync in which so many members of each could not be sent, one client after the other."""
    importer = make_importer(size=0)
    names = ["a", "b", "c"][: len(numbers)]
    clients = configure_clients(importer, names, size=3)
    for name, number in zip(names, numbers, strict=True):
        for _ in range(number):
            importer.sandbox.audience(clients[name]["list_key"]).add(email_address=BAD_ADDRESS)
        assert importer("sync", "--client", name).code == 3
    return importer


def open_ids(importer: Importer) -> list[int]:
    return [letter["id"] for letter in importer("dlq", "list", "--json").lines]


def test_ids_and_ranges_are_read() -> None:
    """A single id is a range of one."""
    assert parse_ids(["7", "3-10", "4-4"]) == [range(7, 8), range(3, 11), range(4, 5)]


@pytest.mark.parametrize(
    "typed", ["0", "0-3", "10-3", "3-", "-", "3-5-7", "3..5", "all", "²", "9" * 19, "1-" + "9" * 19]
)
def test_what_is_neither_an_id_nor_a_range_is_an_error(typed: str) -> None:
    """With an example of what is."""
    with pytest.raises(ConfigError) as raised:
        parse_ids([typed])
    assert "3-10" in raised.value.hint


def test_a_range_is_shown_letter_by_letter(make_importer: MakeImporter) -> None:
    """Each once, in a block of its own or in a line of JSON, whatever their status."""
    importer = with_letters(make_importer, 4)
    importer("dlq", "discard", "2", "--yes")
    assert [line["id"] for line in importer("dlq", "show", "2-9", "3", "--json").lines] == [2, 3, 4]
    blocks = importer("dlq", "show", "2-4").out.split("\n\n")
    assert [block.split()[2] for block in blocks] == ["2,", "3,", "4,"]


def test_a_range_is_discarded_as_far_as_it_is_open(make_importer: MakeImporter) -> None:
    """Those beside it stay; one that is closed already is no error."""
    importer = with_letters(make_importer, 5)
    importer("dlq", "discard", "3", "--yes")
    result = importer("dlq", "discard", "2-4", "--yes")
    assert (result.code, result.err) == (0, "2 dead letters discarded\n")
    assert open_ids(importer) == [1, 5]


def test_a_range_is_replayed_as_far_as_it_is_open(make_importer: MakeImporter) -> None:
    """Those beside it are not tried."""
    importer = with_letters(make_importer, 4)
    importer("dlq", "discard", "2", "--yes")
    assert importer("dlq", "replay", "1-3", "--quiet").code == 3
    tried = {line["id"]: line["attempts"] for line in importer("dlq", "list", "--all", "--json").lines}
    assert tried == {1: 2, 2: 1, 3: 2, 4: 1}


@pytest.mark.parametrize("command", ["show", "discard", "replay"])
def test_a_range_without_a_dead_letter_is_2(make_importer: MakeImporter, command: str) -> None:
    """And names the range."""
    importer = with_letters(make_importer, 1)
    result = importer("dlq", command, "1", "5-7")
    assert (result.code, result.out) == (2, "")
    assert "dead letter from 5 to 7" in result.err
    assert open_ids(importer) == [1]


def test_the_dead_letters_of_one_client_are_discarded(make_importer: MakeImporter) -> None:
    """And those of others stay; also of a client that left the settings."""
    importer = with_letters(make_importer, 2, 1)
    configure_clients(importer, ["b"])
    result = importer("dlq", "discard", "--client", "a", "--yes")
    assert (result.code, result.err) == (0, "2 dead letters discarded\n")
    assert open_ids(importer) == [3]
    assert importer("dlq", "discard", "--client", "a", "--yes").code == 2


def test_the_dead_letters_of_one_client_are_replayed(make_importer: MakeImporter) -> None:
    """And those of others are not tried."""
    importer = with_letters(make_importer, 1, 1)
    assert importer("dlq", "replay", "--client", "b", "--quiet").code == 3
    assert [line["attempts"] for line in importer("dlq", "list", "--json").lines] == [1, 2]


@pytest.mark.parametrize(
    "arguments",
    [["discard", "--yes"], ["discard", "1", "--client", "a", "--yes"], ["replay", "1", "--client", "a"],
     ["discard", "--client", "nobody", "--yes"], ["replay", "--client", "nobody"]],
    ids=" ".join,
)  # fmt: skip
def test_what_names_none_or_both_is_2(make_importer: MakeImporter, arguments: list[str]) -> None:
    """Nothing is discarded or tried by a guess."""
    importer = with_letters(make_importer, 1)
    assert importer("dlq", *arguments).code == 2
    assert [line["attempts"] for line in importer("dlq", "list", "--json").lines] == [1]
