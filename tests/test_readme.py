"""The READMEs say what is so: commands run, settings load, links lead somewhere, tables and demo come from the code."""

from __future__ import annotations

import ast
import contextlib
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import readme
import typer
import typer.main
import yaml
from conftest import Importer, MakeImporter, expected_ids, imported_ids

from mcimport.cli.app import app
from mcimport.config import load

ROOT = readme.ROOT
TEXTS = {str(page.relative_to(ROOT)): page.read_text(encoding="utf-8") for page in readme.pages()}
FRONT = "README.md"
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HOLE = "\0"
_PLACEHOLDERS = {"RUN": "1", "ID": "1", "N": "1"}


def blocks(language: str, text: str) -> list[str]:
    return [body for kind, body in _FENCE.findall(text) if kind == language]


def lines(language: str, text: str) -> list[list[str]]:
    """The commands of a page, as a shell splits them."""
    every = [line for block in blocks(language, text) for line in block.splitlines()]
    return [words for line in every if (words := shlex.split(line, comments=True))]


def prose(text: str) -> str:
    """What of a page a person wrote as text, without blocks of code."""
    return _FENCE.sub("", readme.without_parts(text))


def anchors(text: str) -> set[str]:
    """As GitHub names the headings of a page."""
    heads = re.findall(r"^#+ (.+)$", _FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def test_the_front_page_is_short() -> None:
    """It has at most 200 lines; everything else is beside what it describes."""
    assert len(TEXTS[FRONT].splitlines()) <= 200


def test_each_line_about_consent_names_a_test_that_there_is() -> None:
    """What a lawyer reads is held by something that fails when it is not so."""
    text = TEXTS["mcimport/convert/README.md"]
    page = text[text.index("## Consent: what is sent when") :]
    named = re.findall(r"`([\w/]*test_\w+\.py)::(test_\w+)`", page)
    rows = [row for row in page.splitlines() if re.match(r"\| \d+ \|", row)]
    assert len(rows) == 10
    assert all("::test_" in row for row in rows)
    for file, name in named:
        assert f"def {name}(" in (Path(__file__).parent / file).read_text(encoding="utf-8"), name


@pytest.mark.parametrize(
    "part", ["commands", "exits", "facts", "former_names", "install", "setup", "by_hand", "crontab"]
)
def test_a_generated_part_is_what_the_code_produces(part: str) -> None:
    """Whoever changes the code runs `make readme`."""
    text = readme.HOMES[part].read_text(encoding="utf-8")
    assert readme.parts(text)[part] == getattr(readme, part)()


def test_each_generated_part_is_on_its_page_alone() -> None:
    """No page shows a part that `make readme` would not write."""
    found = [(name, ROOT / page) for page, text in TEXTS.items() for name in readme.parts(text)]
    assert sorted(found) == sorted(readme.HOMES.items())


def test_the_demo_prints_what_the_readme_shows() -> None:
    """The demo, on a smaller audience, says the same but for the numbers."""
    for part, told in readme.demo("--size", "2000").items():
        text = readme.HOMES[part].read_text(encoding="utf-8")
        assert shape(told) == shape(readme.parts(text)[part])


def shape(text: str) -> str:
    """The text without numbers, their plurals, the widths that they give to columns, and what a few people may lack."""
    text = "\n".join(line for line in text.splitlines() if not line.startswith("  warning:"))
    text = re.sub(r"[▁▂▃▄▅▆▇█]+", "~", re.sub(r"\d[\d,.:]*", "9", text))
    text = text.replace(", 9 skipped", "").replace(", 9 subscription events", "")
    return re.sub(r" +", " ", text.replace("time ranges", "time range").replace(" 9 m 9 s", " 9 s"))


@pytest.mark.parametrize("page", [page for page, text in TEXTS.items() if lines("sh", text)])
def test_every_command_of_a_page_runs_as_it_stands(page: str, make_importer: MakeImporter) -> None:
    """Word for word, in order, in a shell's environment, with the sandbox in the vendors' place.

    The front page begins with two variables; every other page with a client whose list is synced.
    """
    importer = make_importer(size=300)
    sandbox = importer.sandbox
    environment = {"MCIMPORT_MAILCHIMP_URL": sandbox.mailchimp_url, "MCIMPORT_OMETRIA_URL": sandbox.ometria_url}
    keys = {"MCIMPORT_MAILCHIMP_API_KEY": sandbox.mailchimp_key, "MCIMPORT_OMETRIA_API_KEY": sandbox.ometria_key}
    if page == FRONT:
        importer.config.unlink()
    else:
        environment |= {"MCIMPORT_CONFIG": str(importer.config), "MCIMPORT_DB": str(importer.db)}
        assert importer("sync").code == 0
    for words in lines("sh", TEXTS[page]):
        if words[0] == "export":
            name = words[1].partition("=")[0]
            environment[name] = keys[name]
        elif words[0] == "mcimport":
            result = importer.in_a_process(*words[1:], environment=environment, bare=True)
            assert result.code == 0, (words, result.err)
        else:
            OTHER_PROGRAMS[words[0]](words)
    assert imported_ids(importer) == expected_ids(importer)


@pytest.mark.parametrize("page", [page for page, text in TEXTS.items() if lines("console", text)])
def test_every_command_that_needs_more_than_this_machine_fits_the_project(page: str) -> None:
    """What takes a broker, Docker or a cluster names commands, options and files that there are."""
    for words in lines("console", TEXTS[page]):
        OTHER_PROGRAMS[words[0]](words)


def _set_up(words: list[str]) -> None:
    """One of the commands in the crontab's head, which `make test-cron` types word for word."""
    head = "\n".join(readme.setup_commands())
    assert words in [shlex.split(line) for line in head.splitlines()]


def _copy(words: list[str]) -> None:
    """`install` copies files that there are, and makes what belongs to the user of the crontab."""
    *sources, target = [word for word in words[1:] if "/" in word]
    made = {"/dev/null", "/etc/mcimport", "/var/lib/mcimport"}
    assert Path(target).is_absolute(), words
    assert all(source in made or (ROOT / source).exists() for source in sources), words
    assert "-o" not in words or words[words.index("-o") + 1] == "mcimport", words


def _as_the_user(words: list[str]) -> None:
    """`runuser` runs commands and options that there are, as the user of the crontab."""
    assert words[1:4] == ["-u", "mcimport", "--"], words
    run = shlex.split(words[-1].rpartition("; exec ")[2]) if words[4] == "sh" else words[4:]
    _parse_options(run)


def _function(words: list[str]) -> None:
    """The function that runs any command as the service's user does what the line for one command does."""
    assert words[2:6] == ["runuser", "-u", "mcimport", "--"], words
    assert words[8].replace('"$@"', "check") in readme.by_hand()
    assert words[9:] == ["mcimport", "$@;", "}"], words


def _systemd(words: list[str]) -> None:
    """The unit is one of this project's."""
    units = [word for word in words if "." in word]
    assert all((ROOT / "cron" / "systemd" / unit).exists() for unit in units), words


def _make(words: list[str]) -> None:
    """`make` would know what to do."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    result = subprocess.run(
        ["make", "--dry-run", *words[1:]],  # noqa: S607 - the shell's own, as the page says
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, (words, result.stderr)


def _pytest(words: list[str]) -> None:
    """There are such tests."""
    assert words[1:3] == ["-m", "pytest"]
    options = ["-q", "--collect-only", "-p", "no:cacheprovider"]
    ended = subprocess.run(
        [sys.executable, *words[1:], *options], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, (words, ended.stdout)


def _install(words: list[str]) -> None:
    """This folder is installed, with extras that there are."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    found = re.fullmatch(r"\.(?:\[([\w,]+)\])?", words[-1])
    assert words[1] == "install", words
    assert found, words
    assert set((found[1] or "").split(",")) - {""} <= set(extras), words


def _docker(words: list[str]) -> None:
    """The image is built from a file that there is, with arguments that it takes."""
    assert words[:3] == ["docker", "build", "--file"]
    dockerfile = (ROOT / words[3]).read_text(encoding="utf-8")
    given = [words[at + 1] for at, word in enumerate(words) if word == "--build-arg"]
    assert all(f"ARG {argument.partition('=')[0]}=" in dockerfile for argument in given)


def _kubectl(words: list[str]) -> None:
    """The Secret is one that the manifests mount."""
    assert words[:4] == ["kubectl", "create", "secret", "generic"]
    manifests = [path.read_text(encoding="utf-8") for path in (ROOT / "cron" / "kubernetes").rglob("*.yaml")]
    assert any(f"secretName: {words[4]}\n" in manifest for manifest in manifests)


def _parse_options(words: list[str]) -> None:
    """As `_parse`, with options that go before the command."""
    assert words[0] == "mcimport", words
    rest = words[1:]
    while rest[0] in ("--config", "--db"):
        rest = rest[2:]
    _parse(["mcimport", *rest])


def _parse(words: list[str]) -> None:
    """The command line takes these words; nothing is run."""
    command: Any = typer.main.get_command(app)
    rest = words[1:]
    while rest and rest[0] in getattr(command, "commands", {}):
        command, rest = command.commands[rest[0]], rest[1:]
    assert not hasattr(command, "commands") or rest[0].startswith("-"), words
    with contextlib.suppress(typer.Exit):  # as of --version
        command.make_context(command.name, rest)


OTHER_PROGRAMS: dict[str, Callable[[list[str]], None]] = {
    "mcimport": _parse,
    "make": _make,
    ".venv/bin/python": _pytest,
    "pip": _install,
    "pipx": _install,
    "/opt/mcimport/bin/pip": _install,
    **dict.fromkeys(("umask", "apt-get", "python3", "ln", "useradd", "crontab"), _set_up),
    "install": _copy,
    "runuser": _as_the_user,
    "as_mcimport()": _function,
    "systemctl": _systemd,
    "journalctl": _systemd,
    "docker": _docker,
    "kubectl": _kubectl,
}


@pytest.mark.parametrize("page", TEXTS)
def test_every_command_that_a_page_mentions_is_one_that_there_is(page: str) -> None:
    """Also those in its sentences and tables: commands, options and `make` targets."""
    for found in re.findall(r"`((?:mcimport|make) [^`]+)`", prose(TEXTS[page]).replace("\n", " ")):
        words = [_PLACEHOLDERS.get(word, word) for word in shlex.split(found.replace("...", ""))]
        OTHER_PROGRAMS[words[0]](words)


def said() -> Iterator[str]:
    """Every text in the program's code, with a hole where a value is filled in."""
    for path in (ROOT / "mcimport").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                yield "".join(str(part.value) if isinstance(part, ast.Constant) else _HOLE for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield re.sub(r"\{\w*\}", _HOLE, node.value)


def _pattern(quoted: str) -> re.Pattern[str]:
    """A message as the table quotes it: `...` is anything, and any number may be filled in."""
    pattern = ".*".join(re.escape(piece.strip()) for piece in quoted.split("..."))
    return re.compile(re.sub(r"\d[\d,]*", lambda found: f"(?:{found[0]}|{_HOLE})", pattern), re.DOTALL)


def test_each_message_that_is_explained_is_one_of_the_programs() -> None:
    """Whoever rewords a message rewords the table, where somebody looks for it word by word."""
    text = TEXTS["mcimport/cli/README.md"]
    rows = text[text.index("## Messages") : text.index("## A dead letter")].splitlines()
    quoted = [span for row in rows if row.startswith("| `") for span in re.findall(r"`([^`]+)`", row.split("|")[1])]
    texts = list(said())
    assert len(quoted) > 40
    assert [each for each in quoted if not any(map(_pattern(each).search, texts))] == []


def test_the_settings_of_the_pages_load(tmp_path: Path) -> None:
    """All examples together are one valid file, with the clients and lists that the front page shows."""
    config = tmp_path / "mcimport.toml"
    config.write_text("\n".join(block for text in TEXTS.values() for block in blocks("toml", text)), encoding="utf-8")
    settings = load(config=config, environ={"ACME_MAILCHIMP_KEY": "k-us1", "ACME_OMETRIA_KEY": "o"}, cwd=tmp_path)
    assert {name: client.lists for name, client in settings.clients.items()} == {
        "acme": ("1a2d7ebf82",),
        "globex": ("9f8e7d6c5b", "0a1b2c3d4e"),
    }
    assert settings.clients["acme"].healthcheck_source
    assert settings.clients["globex"].webhook_source


def test_the_overlays_of_the_pages_name_folders_that_there_are() -> None:
    """A kustomization that lies beside the project's folder finds the base in it."""
    overlays = [yaml.safe_load(block) for text in TEXTS.values() for block in blocks("yaml", text)]
    named = [path for overlay in overlays for path in overlay["resources"]]
    assert named
    assert all((ROOT / path.removeprefix("../mcimport/") / "kustomization.yaml").exists() for path in named)


def test_the_python_of_the_pages_runs(make_importer: MakeImporter) -> None:
    """The library call does what the page says: the list first, then nothing but what changes."""
    importer = make_importer(size=200)
    (python,) = [block for text in TEXTS.values() for block in blocks("python", text)]
    result = python_in_a_process(importer, python)
    assert result.returncode == 0, result.stderr
    assert imported_ids(importer) == expected_ids(importer)


def python_in_a_process(importer: Importer, code: str) -> subprocess.CompletedProcess[str]:
    environment = {"MCIMPORT_CONFIG": str(importer.config), "MCIMPORT_DB": str(importer.db)}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={"PATH": os.environ["PATH"], "HOME": str(importer.folder), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("page", TEXTS)
def test_every_link_of_a_page_leads_somewhere(page: str) -> None:
    """Files and folders are there, and so are the headings behind a `#`."""
    folder = (ROOT / page).parent
    links = [link for link in _LINK.findall(_FENCE.sub("", TEXTS[page])) if "://" not in link]
    assert [link for link in links if not leads_somewhere(link, folder, page)] == []


def leads_somewhere(link: str, folder: Path, page: str) -> bool:
    path, _, anchor = link.partition("#")
    target = (folder / path).resolve() if path else ROOT / page
    return target.exists() and (not anchor or anchor in anchors(target.read_text(encoding="utf-8")))


def test_every_page_can_be_reached_from_the_front_page() -> None:
    """Link after link, each README is found."""
    reached, ahead = {FRONT}, [FRONT]
    while ahead:
        page = ahead.pop()
        for link in _LINK.findall(TEXTS[page]):
            target = os.path.normpath(Path(page).parent / link.partition("#")[0])
            if target in TEXTS and target not in reached:
                reached.add(target)
                ahead.append(target)
    assert reached == set(TEXTS)


def named_elsewhere() -> Iterator[tuple[Path, str]]:
    """Each README, with or without a heading, that code, messages, manifests or the changelog name."""
    files = [ROOT / name for name in ("CHANGELOG.md", "Makefile", "pyproject.toml")]
    files += [path for folder in ("cron", "mcimport", "tests") for path in (ROOT / folder).rglob("*.*")]
    for path in files:
        if path.suffix in {".py", ".md", ".toml", ".yaml", ".crontab", ""} and path.name != "README.md":
            yield from (
                (path, link) for link in re.findall(r"[\w./-]+/README\.md(?:#[\w-]+)?", path.read_text("utf-8"))
            )


def test_every_page_that_code_or_messages_name_is_there() -> None:
    """From the project's folder on, as a reader would look for it."""
    assert [(path, link) for path, link in named_elsewhere() if not leads_somewhere(link, ROOT, "")] == []
