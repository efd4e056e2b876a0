"""The parts of the READMEs that are produced from the code; `make readme` writes them, a test holds them to it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from mcimport.cli.app import app
from mcimport.cli.exits import MEANINGS
from mcimport.report.former_names import DOCUMENTS
from mcimport.services.api_facts import FACTS

ROOT = Path(__file__).parent.parent
FRONT = ROOT / "README.md"
CRONTAB = ROOT / "cron" / "mcimport.crontab"
HOMES = {
    "demo": FRONT,
    "install": FRONT,
    "commands": FRONT,
    "exits": FRONT,
    "dead_letter": ROOT / "mcimport" / "cli" / "README.md",
    "facts": ROOT / "mcimport" / "monitoring" / "probe" / "README.md",
    "setup": ROOT / "cron" / "README.md",
    "crontab": ROOT / "cron" / "README.md",
    "by_hand": ROOT / "cron" / "README.md",
    "former_names": ROOT / "mcimport" / "monitoring" / "README.md",
}
"""Which page shows which generated part."""

_PART = re.compile(r"(<!-- generated: (\w+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
_FACT = re.compile(r"\b((?:mailchimp|ometria)-[a-z]+(?:-[a-z]+)*)\b")
_PARAGRAPHS_OF_TWO_SYNCS = 3  # what `mcimport demo` says first, and its first two commands


def pages() -> list[Path]:
    """Returns every README of the project, the front page first."""
    return [
        FRONT,
        *sorted(page for folder in ("cron", "mcimport", "tests") for page in (ROOT / folder).rglob("README.md")),
    ]


def commands() -> str:
    """A table of all commands with the first sentence of their help."""
    group: Any = typer.main.get_command(app)
    rows = []
    for name, command in group.commands.items():
        for path, one in _leaves(f"mcimport {name}", command):
            arguments = [_as_in_usage(each) for each in one.params if each.param_type_name == "argument"]
            rows.append(f"| `{' '.join([path, *arguments])}` | {one.help.strip().splitlines()[0]} |")
    return "\n".join(["| command | does |", "|---|---|", *rows])


def _as_in_usage(argument: Any) -> str:
    name = argument.metavar or argument.name.upper()
    return f"{name if argument.required else f'[{name}]'}{'...' * (argument.nargs != 1)}"


def _leaves(path: str, command: Any) -> list[tuple[str, Any]]:
    children = getattr(command, "commands", None)
    if children is None:
        return [(path, command)]
    return [leaf for name, child in children.items() for leaf in _leaves(f"{path} {name}", child)]


def facts() -> str:
    """A table of what is assumed of both services, with the modules that rely on it."""
    rows, modules = [], modules_by_fact()
    for fact in FACTS.values():
        marks = f"{' (needed)' * fact.is_needed}{' (`--write`)' * fact.needs_write}"
        relying = ", ".join(f"`{module}`" for module in modules.get(fact.id, []))
        rows.append(f"| `{fact.id}`{marks} | {fact.assumed} | {fact.asked} | {fact.if_not} | {relying} |")
    heads = ("fact", "assumed", "how it is asked", "where it is otherwise", "relied on in")
    return "\n".join([f"| {' | '.join(heads)} |", "|---" * len(heads) + "|", *rows])


def modules_by_fact() -> dict[str, list[str]]:
    """The modules whose texts name a fact, by its id: those of the importer, without table and probe."""
    package, found = ROOT / "mcimport", dict[str, list[str]]()
    for path in sorted(package.rglob("*.py")):
        module = path.relative_to(package)
        if {"api_facts", "probe", "sandbox", "cli"} & set(module.parts):
            continue
        for name in sorted(set(_FACT.findall(path.read_text(encoding="utf-8")))):
            found.setdefault(name, []).append(str(module))
    return found


def exits() -> str:
    rows = [f"| {code} | {meaning} |" for code, meaning in MEANINGS.items()]
    return "\n".join(["| code | meaning |", "|---|---|", *rows])


def former_names() -> str:
    rows = [
        f"| {document} | `{new}` | `{old}` |" for document, names in DOCUMENTS.items() for new, old in names.items()
    ]
    return "\n".join(["| where | name | until 0.3.0 also |", "|---|---|---|", *rows])


def setup_commands() -> tuple[str, str, str]:
    """The commands in the crontab's head: for the program, for the table, and by hand."""
    head = CRONTAB.read_text(encoding="utf-8").partition("\nSHELL=")[0]
    blocks = re.findall(r"(?:^#   .+\n)+", head, re.MULTILINE)
    program, table, by_hand = (re.sub("^#   ", "", block, flags=re.MULTILINE).rstrip() for block in blocks)
    return program, table, by_hand


def install() -> str:
    program, _, _ = setup_commands()
    return f"```console\n{program}\n```"


def setup() -> str:
    program, table, _ = setup_commands()
    return f"```console\n{program}\n{table}\n```"


def by_hand() -> str:
    _, _, commands_by_hand = setup_commands()
    return f"```console\n{commands_by_hand}\n```"


def crontab() -> str:
    lines = CRONTAB.read_text(encoding="utf-8").splitlines()
    return "```crontab\n" + next(line for line in lines if line[:1].isdigit()) + "\n```"


def demo(*options: str) -> dict[str, str]:
    """Returns what `mcimport demo` prints without a terminal, in two parts: its two syncs, and its dead letter."""
    result = subprocess.run(
        [sys.executable, "-m", "mcimport", "demo", *options],
        check=True,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    paragraphs = result.stdout.strip().split("\n\n")
    syncs, rest = paragraphs[:_PARAGRAPHS_OF_TWO_SYNCS], paragraphs[_PARAGRAPHS_OF_TWO_SYNCS:]
    return {name: "```text\n" + "\n\n".join(told) + "\n```" for name, told in (("demo", syncs), ("dead_letter", rest))}


def parts(text: str) -> dict[str, str]:
    """The generated parts that a text holds, by name."""
    return {name: body.strip() for _, name, body, _ in _PART.findall(text)}


def without_parts(text: str) -> str:
    return _PART.sub("", text)


def with_parts(text: str, new: Mapping[str, str]) -> str:
    return _PART.sub(lambda found: f"{found[1]}{new[found[2]]}\n{found[4]}", text)


def main() -> None:
    written = {
        "commands": commands(),
        "exits": exits(),
        "facts": facts(),
        "install": install(),
        "setup": setup(),
        "by_hand": by_hand(),
    }
    fresh = {**written, "crontab": crontab(), **demo()}
    for page in set(HOMES.values()):
        page.write_text(with_parts(page.read_text(encoding="utf-8"), fresh), encoding="utf-8")


if __name__ == "__main__":
    main()
