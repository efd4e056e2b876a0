"""The sandbox in a process of its own: says where it is, then answers a line of JSON with a line of JSON.

Started by `sandbox_process`, with its options as JSON in the first argument. It differs from `mcimport sandbox` in
what a benchmark needs: many accounts, an audience without phone numbers, and an Ometria that forgets what it was sent,
so that a list of a million fits into memory.
"""

from __future__ import annotations

import gc
import sys
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import msgspec

from benchmarks.mirror import hold_up
from benchmarks.told import Account, Counters, Place, count_requests
from mcimport.sandbox.audience import invented_members, member_list
from mcimport.sandbox.audience.invented_members import ListIdentity
from mcimport.sandbox.audience.stored_member import StoredMember
from mcimport.sandbox.server import Sandbox
from mcimport.sandbox.settings import SandboxSettings

TAGS_ON_A_PAGE = 50
KEPT = 1_000  # records that an Ometria account remembers


class Options(msgspec.Struct, frozen=True):
    """`clients` accounts with `size` members each; the knobs are the sandbox's."""

    size: int
    clients: int
    has_phones: bool
    has_many_tags: bool
    mirrors: bool
    knobs: dict[str, Any]


class Order(msgspec.Struct, frozen=True):
    """Turn these knobs, then forget what was asked so far, if that is wanted; the answer is what was counted before."""

    turn: dict[str, Any] = {}
    clear: bool = False


def main() -> None:
    """Serves until standard input ends."""
    options = msgspec.json.decode(sys.argv[1], type=Options)
    _simplify(options)
    sandbox = Sandbox(SandboxSettings(size=options.size, **options.knobs))
    accounts = [Account("client-0", sandbox.mailchimp_key, sandbox.ometria_key, sandbox.list_key)]
    for number in range(1, options.clients):
        one = Account(f"client-{number}", f"{number:032x}-us6", f"{number:032x}", f"{number:010x}")
        sandbox.add_account(one.mailchimp_key, one.ometria_key, {one.list_key: options.size})
        accounts.append(one)
    for store in sandbox._shared.ometria.values():
        store._pending = deque(maxlen=KEPT)
    for members in sandbox._shared.audiences():
        # Makes the index by hash, which is otherwise made, while everybody waits, when somebody is first sought by it.
        members.find("0" * 32)
    if options.mirrors:
        for one in accounts:
            hold_up(sandbox._shared.ometria[one.ometria_key], sandbox.audience(one.list_key, one.mailchimp_key))
    gc.collect()
    gc.freeze()  # a million members are not to be walked over again and again while somebody waits
    with sandbox:
        _say(Place(sandbox.mailchimp_url, sandbox.ometria_url, accounts))
        _obey(sandbox)


def _obey(sandbox: Sandbox) -> None:
    began = time.process_time()
    for line in sys.stdin:
        order = msgspec.json.decode(line, type=Order)
        counters = count_requests(sandbox.requests, time.process_time() - began)
        for name, value in order.turn.items():
            setattr(sandbox.settings, name, value)
        if order.clear:
            sandbox.clear_requests()
            began = time.process_time()
        _say(counters)


def _simplify(options: Options) -> None:
    """Everybody as before, but without a number, or with no more tags than a page lists."""
    invent = invented_members.invent

    def simplified(identity: ListIdentity, row: StoredMember, permissions: Sequence[str] = ()) -> dict[str, Any]:
        member = invent(identity, row, permissions)
        if not options.has_phones:
            member["merge_fields"]["PHONE"] = ""
            member |= {"sms_phone_number": "", "sms_subscription_status": ""}
        if not options.has_many_tags:
            member["tags"] = member["tags"][:TAGS_ON_A_PAGE]
            member["tags_count"] = len(member["tags"])
        return member

    vars(member_list)["invent"] = simplified


def _say(answer: Place | Counters) -> None:
    sys.stdout.write(msgspec.json.encode(answer).decode() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
