"""The Dockerfile, without an engine: what its last stage says, and what a linter says of it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import yaml
from crontab_table import CRONTAB, ROOT

DOCKERFILE = CRONTAB.with_name("Dockerfile")
Instruction = tuple[str, str]


def instructions() -> list[Instruction]:
    """Name and rest of each, continued lines joined, without comments."""
    lines = [line for line in DOCKERFILE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    split = (line.partition(" ") for line in joined.splitlines() if line.strip())
    return [(name, " ".join(rest.split())) for name, _, rest in split]


def stages() -> list[list[Instruction]]:
    found: list[list[Instruction]] = []
    for one in instructions():
        if one[0] == "FROM":
            found.append([])
        if found:
            found[-1].append(one)
    return found


def said(name: str) -> list[str]:
    """By the last stage."""
    return [rest for what, rest in stages()[-1] if what == name]


def test_the_linter_has_nothing_to_say() -> None:
    """hadolint, but for the rule that the file itself waives, with its reason."""
    program = Path(sys.executable).with_name("hadolint")
    result = subprocess.run([program, DOCKERFILE], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def test_the_linter_can_object(tmp_path: Path) -> None:
    """A file with a base that may be anything is refused by it."""
    bad = tmp_path / "Dockerfile"
    bad.write_text("FROM debian:latest\n", encoding="utf-8")
    program = Path(sys.executable).with_name("hadolint")
    assert subprocess.run([program, bad], capture_output=True, check=False).returncode != 0


def test_what_builds_it_stays_behind() -> None:
    """Two stages on the same slim base; the last one installs Python alone and takes what the first one made."""
    build, last = stages()
    assert build[0] == ("FROM", "${BASE} AS build")
    assert last[0] == ("FROM", "${BASE}")
    assert re.fullmatch(r"BASE=debian:\w+-slim", dict(instructions()[:1])["ARG"])
    assert said("COPY") == ["--from=build /opt/mcimport /opt/mcimport"]
    (run,) = said("RUN")
    assert re.findall(r"--no-install-recommends (.*?) &&", run) == ["python3"]
    assert "pip" not in run


def test_the_versions_are_those_that_were_tested() -> None:
    """What pip installs, workers' extra included, is held to constraints.txt."""
    (install,) = [rest for name, rest in stages()[0] if name == "RUN" and " install --no-cache-dir " in rest]
    assert "--constraint constraints.txt '.[celery]'" in install


def test_it_is_the_command_as_nobody_in_particular() -> None:
    """The entry point is `mcimport`; the user is a number other than 0."""
    assert said("ENTRYPOINT") == ['["mcimport"]']
    assert said("CMD") == []
    (user,) = said("USER")
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", user)


def test_no_key_and_no_address_is_baked_in() -> None:
    """Its environment leads to the state, and nothing else of ours is in it."""
    (environment,) = said("ENV")
    names = [one.partition("=")[0] for one in environment.split()]
    assert names == ["PATH", "PYTHONDONTWRITEBYTECODE", "MCIMPORT_DB", "SQLITE_TMPDIR"]
    assert [rest for _, rest in instructions() if "://" in rest or "@" in rest] == []


def test_it_is_labelled() -> None:
    """The annotations of the Open Container Initiative say what it is, of which version, and under which licence."""
    (labels,) = said("LABEL")
    named = re.findall(r"org\.opencontainers\.image\.([a-z.]+)=", labels)
    assert named == ["title", "description", "licenses", "version", "revision", "base.name"]
    base = dict(instructions()[:1])["ARG"].removeprefix("BASE=")
    assert f'base.name="docker.io/library/{base}"' in labels


def test_only_what_it_is_made_of_is_sent_to_the_engine() -> None:
    """What the file beside it lets through is what is copied, and it is there."""
    lines = CRONTAB.with_name("Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    let_through = {line.removeprefix("!") for line in lines if line.startswith("!")}
    copied = [rest.split()[:-1] for name, rest in stages()[0] if name == "COPY"]
    assert let_through == {name.removeprefix("./") for names in copied for name in names}
    assert "*" in lines
    assert all((ROOT / name).exists() for name in let_through)


def test_the_image_and_the_pod_agree_on_the_state() -> None:
    """The folder that the image hands to its user is where the claim is mounted."""
    text = CRONTAB.with_name("kubernetes").joinpath("cronjob.yaml").read_text(encoding="utf-8")
    spec = yaml.safe_load(text)["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (state,) = [one["mountPath"] for one in spec["containers"][0]["volumeMounts"] if one["name"] == "state"]
    (run,) = said("RUN")
    (user,) = said("USER")
    owner, group = user.split(":")
    assert f"--owner={owner} --group={group} --mode=0700 {state}" in run
