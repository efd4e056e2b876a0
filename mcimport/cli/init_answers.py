"""What `mcimport init` asks for, and what it says of the answers before it writes them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import typer
from msgspec.structs import replace
from pydantic import SecretStr

from mcimport.cli.output import say, warn
from mcimport.config import Answers
from mcimport.config.keys import KeySource
from mcimport.config.masked import masked_source
from mcimport.config.settings import WHERE_LIST_IDS_ARE
from mcimport.errors import ConfigError

_is_usual_id = re.compile(r"[0-9a-f]{10}").fullmatch

Check = Callable[[str, Answers], None]
"""Raises ConfigError where the answer of this name cannot be a setting; answers that follow are examples."""

_ON_A_TERMINAL = "in a terminal, `mcimport init` asks for what is missing."
_SOURCE = "key, from env:NAME or file:PATH"
QUESTIONS = {  # of each field of `Answers`: its option, and what is asked at the terminal
    "client": ("--client", "Client name"),
    "lists": ("--list", "Mailchimp list ids, separated by spaces"),
    "mailchimp_key": ("--mailchimp-key", f"Mailchimp {_SOURCE}"),
    "ometria_key": ("--ometria-key", f"Ometria {_SOURCE}"),
    "collection": ("--collection", "Collection in Ometria"),
}


def take_answers(
    given: Mapping[str, str | None], check: Check, *, has_terminal: bool, collection: str = "mailchimp"
) -> Answers:
    """Returns the answers: those given as options, the rest asked for at the terminal.

    `collection`: the one that is meant where none is named. Raises ConfigError for an option that is no possible
    setting, and for one that is missing without a terminal.
    """
    answers, asks = Answers(collection=collection), has_terminal and is_incomplete(given)
    for name, (option, question) in QUESTIONS.items():
        answer = given[name]
        if answer is not None:
            answers = _with_answer(answers, name, answer, check)
        elif asks:
            answers = _ask(answers, name, question, check)
        elif name != "collection":
            raise ConfigError(f"{option} is missing", hint=f"Nothing was written; {_ON_A_TERMINAL}")
    return answers


def is_incomplete(given: Mapping[str, str | None]) -> bool:
    """Returns whether an option is missing; `--collection` has a default, which is only offered beside others."""
    return any(given[name] is None for name in QUESTIONS if name != "collection")


def _default(answers: Answers, name: str, check: Check) -> str | None:
    """Returns what Return alone means, given the answers so far; None: it has to be typed."""
    if name == "client":
        try:
            check(name, answers)
        except ConfigError:  # the file has a client of the example's name
            return None
    if name in ("mailchimp_key", "ometria_key"):
        client = re.sub("[^A-Z0-9]", "_", answers.client.upper())
        return f"env:{'_' if client[0].isdigit() else ''}{client}_{name.upper()}"
    return None if name == "lists" else str(getattr(answers, name))


def _with_answer(answers: Answers, name: str, answer: str, check: Check) -> Answers:
    """Adds an answer. Raises ConfigError where it is no possible setting."""
    value: dict[str, Any] = {name: tuple(re.split(r"[\s,]+", answer.strip())) if name == "lists" else answer}
    changed = replace(answers, **value)
    check(name, changed)
    return changed


def _ask(answers: Answers, name: str, question: str, check: Check) -> Answers:
    """Asks until the answer is a possible setting; each time, it says what was wrong."""
    default = _default(answers, name, check)
    while True:
        try:
            return _with_answer(answers, name, typer.prompt(question, default=default), check)
        except ConfigError as error:
            warn(str(error))  # without its hint, that nothing was written: more is still asked


def show_notes(answers: Answers, folder: Path) -> None:
    """Says on standard error which key is not there yet, for it may be set later, and what looks like no list's id."""
    for service, source in _sources(answers, folder):
        try:
            source.read()
        except ConfigError as error:
            say(f"mcimport: note: {service} key: {str(error).removeprefix(': ')}{f'. {error.hint}' * bool(error.hint)}")
    for key in answers.lists:
        if not _is_usual_id(key):
            say(f"mcimport: note: {key} does not look like a list's id (ten of 0-9 and a-f): {WHERE_LIST_IDS_ARE}")


def confirm_summary(answers: Answers, target: Path, *, asks: bool) -> bool:
    """Shows at the terminal what will be written; returns whether it may be. `asks`: False: it may in any case."""
    facts = {
        "file": str(target),
        "client": answers.client,
        "lists": ", ".join(answers.lists),
        **{f"{service} key": masked_source(source) for service, source in _sources(answers, target.absolute().parent)},
        "collection": answers.collection,
    }
    for name, words in facts.items():
        typer.echo(f"  {name:<13}  {words}")
    return not asks or typer.confirm("Write this?", default=True)


def _sources(answers: Answers, folder: Path) -> list[tuple[str, KeySource]]:
    keys = {"Mailchimp": answers.mailchimp_key, "Ometria": answers.ometria_key}
    return [(service, KeySource("", SecretStr(spec), folder, os.environ)) for service, spec in keys.items()]
