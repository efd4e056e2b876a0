"""A page and the one after it: when the next is requested."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext

from services.mailchimp.test_client import client as mailchimp_client
from services.ometria.accounts import client as ometria_client

from mcimport.convert import make_converter
from mcimport.engine.page.context import PageContext
from mcimport.engine.page.process import process_page
from mcimport.models import ContactRules, Conversion, ListFields, Member, Window
from mcimport.models.timestamps import epoch
from mcimport.sandbox.server import LIST_KEY, Sandbox
from mcimport.sandbox.settings import SandboxSettings
from mcimport.services.http import decode_slot
from mcimport.services.ometria.sender import BatchSender

PATIENT = 30.0  # seconds after which what was waited for never comes


def test_the_next_page_is_requested_before_a_converted_one_waits_for_the_decode_slot_again() -> None:
    """Else, of ten pages that arrive together, the first goes on when the last is converted."""
    converting, requested = threading.Event(), threading.Event()
    convert_member = make_converter(
        ListFields({}, {}), ContactRules(list_key=LIST_KEY, collection="mailchimp", new_since=None)
    )

    def convert(member: Member, _: int | None) -> Conversion:
        converting.set()
        return convert_member(member)

    with (
        Sandbox(SandboxSettings(size=30)) as sandbox,
        closing(mailchimp_client(sandbox)) as mailchimp,
        closing(ometria_client(sandbox)) as ometria,
        ThreadPoolExecutor(1) as pool,
    ):
        seconds = [epoch(member["last_changed"]) or 0 for member in sandbox.audience().members]
        window = Window(0, "listed", min(seconds) - 1, max(seconds), page=10)
        job = PageContext(LIST_KEY, mailchimp, BatchSender(ometria), convert, lambda _: nullcontext(list))
        job.ahead.acquire()  # another page is ahead, so that this one's rest is read once it is converted
        page = pool.submit(process_page, window, job, on_read=lambda _: requested.set())
        assert converting.wait(PATIENT)
        with decode_slot.held():  # as a page that has arrived meanwhile
            assert requested.wait(PATIENT)
        assert page.result(PATIENT).pushed > 0
