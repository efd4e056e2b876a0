"""A list's own fields, read once for all pages of a run."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

from msgspec.structs import replace

from mcimport.models import ListFields
from mcimport.services.mailchimp.client import MailchimpClient
from mcimport.services.mailchimp.list_fields import list_has_permissions, read_list_fields


@dataclass(eq=False)
class LazyListFields:
    """Reads a list's own fields when they are first needed, or earlier, in a thread beside something else.

    Safe to share between threads.

    Attributes:
        is_asked: ask the list whether it has marketing permissions, because it was not read yet, or because members
            showed some, which may be switched off now. Else no member had any, and those who have some now show them.
    """

    _mailchimp: MailchimpClient
    _list_key: str
    is_asked: bool = field(default=False, kw_only=True)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _known: ListFields | None = None

    def begin(self) -> None:
        """Begins to read, and returns at once; `read` then waits for the fields, or reads them again if this failed."""

        def read() -> None:
            with suppress(Exception):  # raised again where the fields are needed, if that fails, too
                self.read()

        with suppress(RuntimeError):  # no thread is to be had
            threading.Thread(target=read, name="fields", daemon=True).start()

    def read(self, *, anew: bool = False) -> ListFields:
        """Returns the fields; `anew`: read again. Raises what Mailchimp raises."""
        with self._lock:
            if self._known is None or anew:
                self._known = self._read()
            return self._known

    def _read(self) -> ListFields:
        if not self.is_asked:
            return replace(read_list_fields(self._mailchimp, self._list_key), has_permissions=False)
        with ThreadPoolExecutor(1, thread_name_prefix="permissions") as pool:
            has_some = pool.submit(list_has_permissions, self._mailchimp, self._list_key)
            fields = read_list_fields(self._mailchimp, self._list_key)
            return replace(fields, has_permissions=has_some.result())
