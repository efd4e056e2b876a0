"""What `--help` shows of the commands: in which panel each stands, one line of it, and examples."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from typer.core import TyperCommand, TyperGroup

PANELS: Mapping[str, Mapping[str, str]] = {
    "Every day": {
        "sync": "Import what changed; the first time, everything.",
        "status": "Show where each list stands.",
        "report": "Show what was done for each client.",
        "runs": "Show what was done, run by run.",
        "preview": "Show members beside the contacts they become.",
    },
    "When something is wrong": {
        "check": "Test settings, keys, services and lists.",
        "probe": "Show what holds of both APIs on your account.",
        "dlq": "Show what could not be imported, and import it again.",
        "reconcile": "Compare lists with Ometria, and fix what differs.",
        "keys": "Go on with a client's new Ometria key.",
        "ui": "Show all of it in the browser.",
    },
    "Once, or now and then": {
        "init": "Write a configuration, or add a client to one.",
        "config": "Show the settings in force, and where each comes from.",
        "notify": "Try the addresses that are notified.",
        "lists": "Show the lists that your keys can see.",
        "backup": "Copy the state file.",
        "forget": "Remove all that is recorded of a client.",
        "worker": "Process pages for an mcimport on another machine.",
        "demo": "See it work on invented members.",
        "sandbox": "Serve a fake Mailchimp and a fake Ometria.",
    },
}
"""Every command and group, once, with its line."""

GLOBAL_OPTIONS: Mapping[str, str] = {"--config": " PATH", "--db": " PATH", "--version": ""}
"""The options that go before the command, each with what follows it."""

EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "sync": (
        "mcimport sync                         all lists of all clients",
        "mcimport sync 1a2d7ebf82              one list",
        "mcimport sync --client acme --full    every member of a client's lists again",
        "mcimport sync --since now             begin without what is there",
        "mcimport sync --every 5m --quiet      again and again, until stopped",
    ),
    "preview": (
        "mcimport preview 1a2d7ebf82 --limit 20",
        "mcimport preview 1a2d7ebf82 --member 3f1c0c9a6b2d4e5f8a7b6c5d4e3f2a1b",
    ),
    "reconcile": (
        "mcimport reconcile 1a2d7ebf82             what differs; changes nothing",
        "mcimport reconcile --mend --yes --quiet   fix it, without being asked",
    ),
    "status": ("mcimport status --client acme", "mcimport status --json"),
    "report": (
        "mcimport report --since 7d",
        "mcimport report --client acme --html week.html   one page, to mail",
    ),
    "notify test": ("mcimport notify test --client acme",),
    "probe": (
        "mcimport probe 1a2d7ebf82",
        "mcimport probe 1a2d7ebf82 --write --report probe.json",
        "mcimport probe --explain ometria-words",
    ),
    "check": ("mcimport check --client acme", "mcimport check --offline"),
    "init": (
        "mcimport init",
        "mcimport init --add",
        "mcimport init --client acme --list 1a2d7ebf82 --mailchimp-key env:ACME_MC --ometria-key env:ACME_OM",
    ),
    "config show": ("mcimport config show --client acme",),
    "lists": ("mcimport lists", "mcimport lists --client acme --json"),
    "backup": ("mcimport backup /var/backups/mcimport.db",),
    "forget": ("mcimport forget acme", "mcimport forget acme --list 1a2d7ebf82"),
    "ui": ("mcimport ui",),
    "runs list": ("mcimport runs list --client acme --limit 50",),
    "runs show": ("mcimport runs show 128",),
    "dlq list": ("mcimport dlq list --client acme",),
    "dlq show": ("mcimport dlq show 12",),
    "dlq replay": ("mcimport dlq replay        all that are open", "mcimport dlq replay 3-10 12"),
    "dlq discard": ("mcimport dlq discard 12",),
    "keys accept": ("mcimport keys accept acme",),
    "worker": ("mcimport worker --verbose",),
    "demo": ("mcimport demo",),
    "sandbox": ("mcimport sandbox --size 1000", "mcimport sandbox --clients 3"),
}


def epilog(command: str) -> str | None:
    """Returns the examples of a command as they stand below its help."""
    lines = EXAMPLES.get(command)
    return None if lines is None else "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])


_PYDANTIC = (
    (r"Input should be a valid integer.*", "not a whole number"),
    (r"Input should be a valid number.*", "not a number"),
    (r"Input should be greater than or equal to (\S+)", r"must be \1 or more"),
    (r"Input should be less than or equal to (\S+)", r"must be \1 or less"),
    (r"Input should be", "must be"),
    (r"Value error, ", ""),
)


def plain_words(message: str) -> str:
    """Returns the error of a value that was typed, without the words of the library that looked at it."""
    for pattern, words in _PYDANTIC:
        message = re.sub(pattern, words, message)
    return message


_TYPE = re.compile(r" <[\w\[\]]+>")  # of Python, behind an argument's name
_BRACES = re.compile(r"\{([A-Z_]+)\}")


class PlainCommand(TyperCommand):
    """Shows arguments as other programs do: required ones without braces, and none with its type in Python."""

    def get_usage(self, ctx: Any) -> str:
        return _plain_arguments(super().get_usage(ctx))

    def get_help(self, ctx: Any) -> str:
        return _plain_arguments(super().get_help(ctx))


def _plain_arguments(text: str) -> str:
    return _BRACES.sub(r"\1", _TYPE.sub("", text))


class LineGroup(TyperGroup):
    """Lists its commands with the whole first sentence of their help, which Click would cut off."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - as Click calls it
        with formatter.section("Commands"):
            formatter.write_dl([(name, str(one.help).splitlines()[0]) for name, one in self.commands.items()])


class PanelGroup(TyperGroup):
    """Lists its commands in panels, and says where an option belongs that was typed behind the command."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            if isinstance(message := getattr(error, "message", None), str):
                error.message = plain_words(message)  # type: ignore[attr-defined] # as Click's have it
            option = getattr(error, "option_name", "")  # of Click's NoSuchOption, which typer hides
            if option in GLOBAL_OPTIONS and (after := getattr(error, "ctx", None)):
                program, _, command = after.command_path.partition(" ")
                value = GLOBAL_OPTIONS[option]
                words = f"{option} goes before the command: `{program} {option}{value} {command}`"
                error.message, error.possibilities = words, None  # type: ignore[attr-defined] # as Click's has them
            raise

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - as Click calls it
        for panel, lines in PANELS.items():
            if rows := [(name, line) for name, line in lines.items() if name in self.commands]:
                with formatter.section(panel):
                    formatter.write_dl(rows)
