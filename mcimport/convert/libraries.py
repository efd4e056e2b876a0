"""Loads the libraries that a conversion may need, whole: what is loaded during a run may be of another version."""

from __future__ import annotations

from functools import cache
from threading import Lock

from mcimport.convert.country import country_code
from mcimport.convert.email_address import usable
from mcimport.errors import McimportError
from mcimport.errors.machine import as_ours

_lock = Lock()


def load_libraries() -> None:
    """Loads them once a process, before a run's first request, in a tenth of a second. Raises MachineError.

    What failed once is not tried again: a library that was loaded in part may wait forever for a lock of its own.
    """
    with _lock:
        failure = _failure()
    if failure is not None:
        raise failure


@cache
def _failure() -> McimportError | None:
    try:
        import phonenumbers  # noqa: PLC0415 - as in `phone`

        phonenumbers.PhoneMetadata.load_all()  # each country's data, which is else loaded at its first number
        country_code("US")  # pycountry, and the table of its names
        usable("é@é.example")  # email-validator, and its tables for domains in other scripts
    except Exception as error:  # noqa: BLE001 - whatever a library raises, no member can be converted without it
        return as_ours(error)
    return None
