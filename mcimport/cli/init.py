"""`mcimport init`: writes a commented mcimport.toml from a few answers."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from msgspec.structs import replace

from mcimport.cli.options import Options
from mcimport.cli.output import warn_root
from mcimport.config import Answers, load, template
from mcimport.errors import ConfigError
from mcimport.errors.ownership import USE, explain

_SOURCES = "Where to find the key: env:NAME or file:PATH."
_ON_A_TERMINAL = "in a terminal, `mcimport init` asks for what is missing."


def init(
    context: typer.Context,
    path: Annotated[Path | None, typer.Argument(help="File to write; default ./mcimport.toml.", readable=False)] = None,
    *,
    client: Annotated[str | None, typer.Option(metavar="NAME", help="Name of the client.")] = None,
    list_keys: Annotated[
        list[str] | None, typer.Option("--list", metavar="LIST_KEY", help="List to import; repeatable.")
    ] = None,
    mailchimp_key: Annotated[str | None, typer.Option(metavar="SOURCE", help=_SOURCES)] = None,
    ometria_key: Annotated[str | None, typer.Option(metavar="SOURCE", help=_SOURCES)] = None,
    collection: Annotated[
        str | None, typer.Option(metavar="NAME", help="Collection in Ometria; default mailchimp.")
    ] = None,
) -> None:
    """Writes a commented mcimport.toml that only you can read; asks for what is missing; never overwrites one."""
    options = context.find_object(Options) or Options()
    target = path or options.config or Path("mcimport.toml")
    if os.path.lexists(target):
        raise _already_exists(target)
    given = {
        "client": client,
        "lists": " ".join(list_keys) if list_keys else None,
        "mailchimp_key": mailchimp_key,
        "ometria_key": ometria_key,
        "collection": collection,
    }
    has_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    has_answers = has_terminal or any(answer is not None for answer in given.values())
    answers = _answers(given, has_terminal=has_terminal) if has_answers else Answers()
    _write(target, template(answers))
    typer.echo(f"Wrote {target}, which only you can read. {'Next' if has_answers else 'Fill in the client, then'}:")
    for command in ("check", f"preview {answers.lists[0] if has_answers else 'LIST_KEY'}", "sync"):
        typer.echo(f"  mcimport {_config_option(target)}{command}")


_SOURCE = "key, from env:NAME or file:PATH"
_QUESTIONS = {  # of each field of `Answers`: its option, and what is asked at the terminal
    "client": ("--client", "Client name"),
    "lists": ("--list", "Mailchimp list ids, separated by spaces"),
    "mailchimp_key": ("--mailchimp-key", f"Mailchimp {_SOURCE}"),
    "ometria_key": ("--ometria-key", f"Ometria {_SOURCE}"),
    "collection": ("--collection", "Collection in Ometria"),
}


def _default(answers: Answers, name: str) -> str | None:
    """Returns what Return alone means, given the answers so far; None: it has to be typed."""
    if name in ("mailchimp_key", "ometria_key"):
        client = re.sub("[^A-Z0-9]", "_", answers.client.upper())
        return f"env:{'_' if client[0].isdigit() else ''}{client}_{name.upper()}"
    return None if name == "lists" else str(getattr(answers, name))


def _answers(given: Mapping[str, str | None], *, has_terminal: bool) -> Answers:
    """Returns the answers: those given as options, the rest asked for at the terminal.

    Raises ConfigError for an option that is no possible setting, and for one that is missing without a terminal.
    """
    answers = Answers()
    for name, (option, question) in _QUESTIONS.items():
        answer = given[name]
        if answer is not None:
            answers = _with_answer(answers, name, answer)
        elif has_terminal:
            answers = _ask(answers, name, question)
        elif name != "collection":
            raise ConfigError(f"{option} is missing", hint=f"Nothing was written; {_ON_A_TERMINAL}")
    return answers


def _with_answer(answers: Answers, name: str, answer: str) -> Answers:
    """Adds an answer. Raises ConfigError where it is no possible setting."""
    value: dict[str, Any] = {name: tuple(re.split(r"[\s,]+", answer.strip())) if name == "lists" else answer}
    changed = replace(answers, **value)
    template(changed)
    return changed


def _ask(answers: Answers, name: str, question: str) -> Answers:
    """Asks until the answer is a possible setting; each time, click prints what was wrong."""

    def parse(answer: str) -> Answers:
        try:
            return _with_answer(answers, name, answer)
        except ConfigError as error:
            raise typer.BadParameter(str(error)) from None

    found: Answers = typer.prompt(question, default=_default(answers, name), value_proc=parse)
    return found


def _config_option(target: Path) -> str:
    """Returns the option that leads a command to the file; empty for the file that is looked for first."""
    is_first = target.absolute() == Path("mcimport.toml").absolute()
    return "" if is_first else f"--config {shlex.quote(str(target))} "


def _already_exists(target: Path) -> ConfigError:
    return ConfigError(f"{target} already exists and was not changed", hint="Name another file, or move this one away.")


def _write(target: Path, text: str) -> None:
    """Writes the file with mode 0600, and removes it again if it cannot be written whole or would not load."""
    warn_root(target)
    try:
        file = os.fdopen(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8")
    except FileExistsError:
        raise _already_exists(target) from None
    except OSError as error:
        denied = explain(error, target, USE)
        raise ConfigError(f"{target} cannot be written: {denied.reason}", hint=denied.fix) from None
    try:
        with file:
            file.write(text)
        load(config=target, db=target, environ={})
    except (ConfigError, OSError) as error:
        target.unlink()
        wrong = f"{target} cannot be written: {error.strerror}" if isinstance(error, OSError) else str(error)
        raise ConfigError(wrong, hint="Nothing was written.") from None
