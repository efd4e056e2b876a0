"""Holds what the two services share: settings, clock, accounts and the log of requests."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

from mcimport.sandbox.audience.audience import Audience
from mcimport.sandbox.audience.member_json import MemberEncoder
from mcimport.sandbox.audience.query import UnreadableMembers
from mcimport.sandbox.clock import Clock
from mcimport.sandbox.ometria_account import OmetriaAccount
from mcimport.sandbox.request_log import Request
from mcimport.sandbox.settings import SandboxSettings


@dataclass
class MailchimpAccount:
    """Holds one key and the lists that it may see. `open` counts its requests under way."""

    key: str
    lists: dict[str, MemberEncoder]
    open: int = 0

    @property
    def secret(self) -> str:
        return self.key.rpartition("-")[0]


@dataclass
class SharedState:
    """Holds the shared state. Only the server's thread changes it, but for accounts, which are added from outside.

    Attributes:
        mailchimp, ometria: by key.
        request_counts: by service, method and path, so that faults hit the same requests in every run.
        internal_errors: of the sandbox itself, or of a hook; they must not pass for a fault.
        closing: set when the server is to stop; everything that waits also waits for this.
    """

    settings: SandboxSettings
    clock: Clock
    rng: random.Random
    requests: list[Request] = field(default_factory=list)
    mailchimp: dict[str, MailchimpAccount] = field(default_factory=dict)
    ometria: dict[str, OmetriaAccount] = field(default_factory=dict)
    unreadable: UnreadableMembers = field(default_factory=UnreadableMembers)
    request_counts: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    internal_errors: list[Exception] = field(default_factory=list)
    closing: asyncio.Event = field(default_factory=asyncio.Event)

    def audiences(self) -> list[Audience]:
        return [encoder.audience for account in list(self.mailchimp.values()) for encoder in account.lists.values()]

    async def wait(self, seconds: float) -> None:
        """Waits so many seconds, or until the server is to stop."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.closing.wait()
