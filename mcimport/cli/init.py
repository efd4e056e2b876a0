"""`mcimport init`: a commented mcimport.toml from a few answers."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from mcimport.cli.context import Options
from mcimport.config import Answers, template
from mcimport.errors import ConfigError

_ON_A_TERMINAL = "on a terminal, `mcimport init` asks for what is missing"
_SOURCE_WORDS = "say where the key comes from, env:NAME or file:PATH, rather than the key itself"


def init(
    context: typer.Context,
    path: Annotated[Path | None, typer.Argument(help="Where to write it; ./mcimport.toml if not named.")] = None,
    *,
    client: Annotated[str | None, typer.Option(metavar="NAME", help="What the client is called.")] = None,
    list_keys: Annotated[list[str] | None, typer.Option("--list", metavar="LIST_KEY", help="Repeatable.")] = None,
    mailchimp_key: Annotated[str | None, typer.Option(metavar="SOURCE", help="env:NAME or file:PATH.")] = None,
    ometria_key: Annotated[str | None, typer.Option(metavar="SOURCE", help="env:NAME or file:PATH.")] = None,
    collection: Annotated[str | None, typer.Option(metavar="NAME", help="In Ometria; mailchimp if not named.")] = None,
) -> None:
    """Writes a commented mcimport.toml for you alone to read; asks for what is not given; never overwrites one."""
    options = context.find_object(Options) or Options()
    target = path or options.config or Path("mcimport.toml")
    if os.path.lexists(target):
        raise ConfigError(f"{target} exists already; it was left as it is")
    asker = _Asker(is_there=sys.stdin.isatty() and sys.stdout.isatty())
    is_told = asker.is_there or any((client, list_keys, mailchimp_key, ometria_key, collection))
    answers = Answers()
    if is_told:
        name = client or asker.ask("Client's name", "--client", "acme")
        keys = list_keys or asker.ask("Mailchimp lists (their ids, blanks between)", "--list").split()
        answers = Answers(
            client=name,
            lists=tuple(keys),
            mailchimp_key=asker.source("Mailchimp", "--mailchimp-key", mailchimp_key, name),
            ometria_key=asker.source("Ometria", "--ometria-key", ometria_key, name),
            collection=collection or answers.collection,
        )
    _write(target, template(answers))
    typer.echo(f"{target} is written, for you alone to read. {'Next' if is_told else 'Fill in its client, then'}:")
    typer.echo("  mcimport check")
    typer.echo(f"  mcimport preview {answers.lists[0] if is_told else 'LIST_KEY'}")
    typer.echo("  mcimport sync")


@dataclass(frozen=True)
class _Asker:
    """Asks whoever sits at the terminal, if somebody does. Raises ConfigError otherwise."""

    is_there: bool

    def ask(self, question: str, option: str, default: str | None = None) -> str:
        if not self.is_there:
            raise ConfigError(f"{option} is missing", hint=f"nothing was written; {_ON_A_TERMINAL}")
        return str(typer.prompt(question, default=default))

    def source(self, service: str, option: str, given: str | None, client: str) -> str:
        """Where a key comes from. A key itself would be left behind on the screen and in the shell's history."""
        usual = f"env:{re.sub('[^A-Z0-9]', '_', client.upper())}_{service.upper()}_KEY"
        told = given or self.ask(f"{service} key, from env:NAME or file:PATH", option, usual)
        scheme, _, rest = told.partition(":")
        if scheme.lower() not in ("env", "file") or not rest:  # perhaps the key: not to be repeated
            raise ConfigError(f"{option}: {_SOURCE_WORDS}", hint="nothing was written")
        return told


def _write(target: Path, text: str) -> None:
    try:
        with os.fdopen(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError(f"{target} exists already; it was left as it is") from None
    except OSError as error:
        raise ConfigError(f"{target} cannot be written: {error.strerror}") from None
