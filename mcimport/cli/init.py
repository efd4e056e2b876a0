"""`mcimport init`: writes a commented mcimport.toml from a few answers, or adds a client to one."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from mcimport.cli.init_answers import confirm_summary, is_incomplete, show_notes, take_answers
from mcimport.cli.options import Options, this_program
from mcimport.cli.output import say, show, warn_root
from mcimport.config import Answers, load, template
from mcimport.config.settings import WHERE_LIST_IDS_ARE
from mcimport.errors import ConfigError
from mcimport.errors.ownership import USE, explain

_SOURCES = "Where to find the key: env:NAME or file:PATH."


def init(
    context: typer.Context,
    path: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="File to write; default ./mcimport.toml.", readable=False)
    ] = None,
    *,
    add: Annotated[bool, typer.Option("--add", help="Add a client to the file that is there.")] = False,
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
    """Writes a commented mcimport.toml that only you can read, or adds a client to one; asks for what is missing.

    It never overwrites a file. With --add, comments, order and mode of the file stay as they are.
    """
    options = context.find_object(Options) or Options()
    if any(len(key.split()) != 1 for key in list_keys or ()):
        raise ConfigError("--list: not a list id, like 1a2d7ebf82", hint=WHERE_LIST_IDS_ARE)
    given = {
        "client": client,
        "lists": " ".join(list_keys) if list_keys else None,
        "mailchimp_key": mailchimp_key,
        "ometria_key": ometria_key,
        "collection": collection,
    }
    (_add_to if add else _begin)(path or options.config, options.db, given)


def _begin(named: Path | None, db: Path | None, given: Mapping[str, str | None]) -> None:
    """Writes a new file: with the answers, which a terminal is asked for, or with an example in comments."""
    target = named or Path("mcimport.toml")
    if os.path.lexists(target):
        raise _already_exists(target)
    if not _has_terminal() and all(answer is None for answer in given.values()):
        _write(target, None)
        words = "with an example of a client in comments. Fill it in, or `mcimport init --add`, then:"
        commands = ("check", "preview LIST_KEY", "sync")
        _print_next(f"Wrote {target}, which only you can read, {words}", target, db, commands)
        return
    answers = take_answers(given, _check, has_terminal=_has_terminal())
    if _is_agreed(answers, target, given):
        _write(target, answers)
        show_notes(answers, target.absolute().parent)
        commands = ("check", f"preview {answers.lists[0]}", "sync")
        _print_next(f"Wrote {target}, which only you can read. Next:", target, db, commands)


def _add_to(named: Path | None, db: Path | None, given: Mapping[str, str | None]) -> None:
    """Adds a client to a file that is there, with the answers, which a terminal is asked for."""
    from mcimport.cli import init_add  # noqa: PLC0415 - as below
    from mcimport.config.add_client import with_client  # noqa: PLC0415 - loads tomlkit

    target = init_add.find_target(named)
    text, file = init_add.read(target)
    check = partial(init_add.check_answer, file)
    answers = take_answers(given, check, has_terminal=_has_terminal(), collection=file.ometria.collection)
    changed = with_client(text, answers, file.ometria.collection)
    if _is_agreed(answers, target, given):
        init_add.replace_file(target.resolve(), changed, text)
        show_notes(answers, target.absolute().parent)
        commands = (
            f"check --client {answers.client}",
            f"preview {answers.lists[0]}",
            f"sync --client {answers.client}",
        )
        _print_next(f"Added the client {answers.client} to {target}. Next:", target, db, commands)


def _has_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def _is_agreed(answers: Answers, target: Path, given: Mapping[str, str | None]) -> bool:
    """Shows at a terminal what will be written, and asks for a yes where anything was asked for."""
    if _has_terminal() and not confirm_summary(answers, target, asks=is_incomplete(given)):
        say("nothing was written")
        return False
    return True


def _check(_: str, answers: Answers) -> None:
    template(answers)


def _print_next(words: str, target: Path, db: Path | None, commands: Sequence[str]) -> None:
    """Writes what was done, and the commands that follow; the file that is looked for first needs no option."""
    is_first = target.absolute() == Path("mcimport.toml").absolute()
    program = this_program(Options(None if is_first else target, db), db or target)
    show(words)
    for command in commands:  # none wraps, for each is to be pasted
        typer.echo(f"  {program} {command}")


def _already_exists(target: Path) -> ConfigError:
    return ConfigError(
        f"{target} already exists and was not changed",
        hint="Add a client to it with `mcimport init --add`, name another file, or move this one away.",
    )


def _write(target: Path, answers: Answers | None) -> None:
    """Writes the file with mode 0600, and removes it again if it cannot be written whole or would not load."""
    text = template(answers)
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
        if answers is not None:  # without a client it is no configuration yet
            load(config=target, db=target, environ={})
    except (ConfigError, OSError) as error:
        target.unlink()
        wrong = f"{target} cannot be written: {error.strerror}" if isinstance(error, OSError) else str(error)
        raise ConfigError(wrong, hint="Nothing was written.") from None
