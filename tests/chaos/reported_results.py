"""Nothing that a command says is better than what is so: of spot checks, of comparisons, and of their exit codes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from conftest import CommandResult
from invariants import COLLECTION, Contacts, Scene, missing, stale

from mcimport.sandbox.request_log import Request


@dataclass(frozen=True)
class Wrong:
    """Who is not in Ometria, or otherwise than on the list."""

    missing: frozenset[str | None]
    stale: frozenset[str | None]

    @classmethod
    def of(cls, scene: Scene) -> Wrong:
        return cls(frozenset(missing(scene)), frozenset(stale(scene)))

    @property
    def all(self) -> frozenset[str | None]:
        return self.missing | self.stale


NOBODY = Wrong(frozenset(), frozenset())


def untold(result: CommandResult, before: Wrong, after: Wrong, *, quiet: bool) -> list[str]:
    """What a comparison does not say of those who were wrong from its beginning to its end.

    Not so much as a sample may pass over: exit 0 says that both sides agree. `quiet`: nothing moved or failed
    meanwhile, so that it also counts them as what they are.
    """
    still = before.all & after.all
    found = [f"both sides agree, but for {who}" for who in still if result.code == 0]
    for line in result.lines if quiet else []:
        if line["missing"] < len(before.missing):
            found.append(f"{line['missing']} missing of {len(before.missing)}")
        if line["stale"] + line["said_no"] + line["gone"] < len(before.stale):
            found.append(f"{line['stale']} stale of {len(before.stale)}")
    return found


def too_few_missing(
    result: CommandResult, requests: Sequence[Request], held: Collection[tuple[str, str]]
) -> Iterator[str]:
    """Of spot checks: whom they asked for, and do not count though Ometria did not hold them. `held`: before it began.

    It is made before anybody is pushed. One that could not tell says nothing.
    """
    asked = {one.path.rpartition("/")[2].lower() for one in requests if one.path.startswith(f"/contacts/{COLLECTION}/")}
    absent = {one for one in asked if (COLLECTION, one) not in held}
    for line in result.lines:
        found = line.get("spot_check")
        if found and found["missing"] is not None and found["missing"] < len(absent):
            yield f"{found['missing']} missing of {len(absent)}"


def keys_of(contacts: Contacts) -> set[tuple[str, str]]:
    """As ids are compared: in lower case."""
    return {(collection, own.lower()) for collection, own in contacts}
