"""The README says what is so: its commands run, its settings load, its tables and its demo come from the code."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import readme
from conftest import Importer, Stage, carried, expected

from mcimport.config import load

TEXT = readme.README.read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def lines() -> list[str]:
    return [line for block in blocks("sh") for line in block.splitlines() if line.strip()]


def test_each_line_about_consent_names_a_test_that_there_is() -> None:
    """What a lawyer reads is held by something that fails when it is not so."""
    page = TEXT[TEXT.index("## Consent: what is sent when") : TEXT.index("## The commands")]
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", page)
    rows = [row for row in page.splitlines() if re.match(r"\| \d+ \|", row)]
    assert len(rows) == 10
    assert all("::test_" in row for row in rows)
    for file, name in named:
        assert f"def {name}(" in (Path(__file__).parent / file).read_text(encoding="utf-8"), name


@pytest.mark.parametrize("part", ["commands", "exits", "crontab"])
def test_a_generated_part_is_what_the_code_produces(part: str) -> None:
    """Whoever changes the code runs `make readme`."""
    assert readme.parts(TEXT)[part] == getattr(readme, part)()


def test_the_demo_prints_what_the_readme_shows() -> None:
    """The demo, on a smaller audience, says the same but for the numbers."""
    assert shape(readme.demo("--size", "2000")) == shape(readme.parts(TEXT)["demo"])


def shape(text: str) -> str:
    """The text without numbers, their plurals, the widths that they give to columns, and what a few people may lack."""
    text = "\n".join(line for line in text.splitlines() if not line.startswith("  warning:"))
    text = re.sub(r"[▁▂▃▄▅▆▇█]+", "~", re.sub(r"\d[\d,.:]*", "9", text))
    text = text.replace(", 9 skipped", "").replace(", 9 subscription events", "")
    return re.sub(r" +", " ", text.replace("time ranges", "time range").replace(" 9 m 9 s", " 9 s"))


def test_every_command_of_the_readme_runs_as_it_stands(stage: Stage) -> None:
    """Word for word, in order, in a shell's environment, with the sandbox in the vendors' place."""
    importer = stage(size=300)
    box = importer.box
    importer.config.unlink()
    environment = {"MCIMPORT_MAILCHIMP_URL": box.mailchimp_url, "MCIMPORT_OMETRIA_URL": box.ometria_url}
    keys = {"MCIMPORT_MAILCHIMP_API_KEY": box.mailchimp_key, "MCIMPORT_OMETRIA_API_KEY": box.ometria_key}
    ran = []
    for line in lines():
        words = shlex.split(line)
        if words[0] == "export":
            name = words[1].partition("=")[0]
            environment[name] = keys[name]
        elif words[0] == "mcimport":
            ended = importer.in_a_process(*words[1:], environment=environment, bare=True)
            assert ended.code == 0, (line, ended.err)
            ran.append(line)
        else:
            assert line in {"pip install .", "make demo", "make test"}
    assert len(ran) >= 5
    assert carried(importer) == expected(importer)


def test_the_targets_that_the_readme_names_are_there() -> None:
    """`make demo` and `make test` exist, as do the others that are mentioned."""
    makefile = (readme.ROOT / "Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r"`make (\w+)`", TEXT)) | {line.split()[1] for line in lines() if line.startswith("make ")}
    assert {"demo", "test"} <= named
    assert all(f"\n{target}:" in makefile for target in named)


def test_the_settings_of_the_readme_load(tmp_path: Path) -> None:
    """The example file is a valid one, with the clients and lists that it shows, also with what is added later on."""
    config = tmp_path / "mcimport.toml"
    config.write_text("\n".join(blocks("toml")), encoding="utf-8")
    settings = load(config=config, environ={"ACME_MAILCHIMP_KEY": "k-us1", "ACME_OMETRIA_KEY": "o"}, cwd=tmp_path)
    assert {name: client.lists for name, client in settings.clients.items()} == {
        "acme": ("1a2d7ebf82",),
        "globex": ("9f8e7d6c5b", "0a1b2c3d4e"),
    }
    assert settings.clients["acme"].healthcheck_source
    assert settings.clients["globex"].webhook_source


def test_the_python_of_the_readme_runs(stage: Stage) -> None:
    """The library call does what the README says: the list first, then nothing but what changes."""
    importer = stage(size=200)
    (python,) = blocks("python")
    ended = python_in_a_process(importer, python)
    assert ended.returncode == 0, ended.stderr
    assert carried(importer) == expected(importer)


def python_in_a_process(importer: Importer, code: str) -> subprocess.CompletedProcess[str]:
    environment = {"MCIMPORT_CONFIG": str(importer.config), "MCIMPORT_DB": str(importer.db)}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={"PATH": os.environ["PATH"], "HOME": str(importer.folder), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
