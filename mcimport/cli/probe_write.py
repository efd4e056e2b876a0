"""Says what a probe that writes will do, and asks for the operator's own address and a yes."""

from __future__ import annotations

from mcimport.cli.confirm import ask, check_terminal, confirm
from mcimport.cli.output import say
from mcimport.convert.email_address import usable
from mcimport.errors import ConfigError

PLAN = (
    "--write pushes one invented contact to Ometria, in a collection of its own, and reads it back; five times in all:",
    '- collection "{collection}", id "{contact}", invented names, one property ({property}), and an address of yours;',
    "- it is opted in for some seconds, without a time, and then opted out. Nothing else in the account is changed.",
    "What stays: that contact, opted out, for no request deletes one; and the property, if Ometria creates it.",
    "From then on Ometria sends no marketing to that address: an opted-out listing outweighs all others.",
    "An automation of yours that starts when a contact is new or opted in may write to it.",
)


def ask_for_address(given: str | None, *, yes: bool, **names: str) -> str | None:
    """Returns the address to write with; None where the answer was no. It is neither repeated nor stored.

    Args:
        given: as typed on the command line.
        yes: do not ask for a yes.
        names: what the plan names: the collection, the contact's id, the property.

    Raises ConfigError where it is no address, or where there is no terminal to ask at.
    """
    for line in PLAN:
        say(line.format(**names))
    if given is None:
        check_terminal("cannot ask for an address", hint="Add one that belongs to you: --address ADDRESS --yes.")
        given = ask("An email address that belongs to you:")
    if not usable(given.strip()):
        raise ConfigError("that is not an email address", hint="Give a whole one that belongs to you, as in --address.")
    if not yes:
        check_terminal("cannot ask for confirmation", hint="Add --yes to write without being asked.")
        if not confirm("Write it?"):
            return None
    return given.strip()
