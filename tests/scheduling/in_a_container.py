"""`make test-image`: builds cron/Dockerfile with podman, and runs the image as the CronJob and the crontab would.

No registry of images is needed: the base is made of Debian's packages, as Debian makes its own. The pod's security
context, limits, environment and mounts come from the manifests and become podman's options; the network is the
machine's, for the sandbox is on its loopback. What Kubernetes itself does (schedule, policies, claims) is not tried.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import yaml
from conftest import Importer, expected_ids, imported_ids
from crontab_table import CRONTAB, ROOT, SETTINGS, Laid, entries, in_a_container, lay, replaced
from privileges import FailedError, Results, attempt, command, make_debian, need, prerequisite, say

from mcimport.sandbox.server import Sandbox
from mcimport.sandbox.settings import SandboxSettings
from mcimport.version import __version__

BASE, IMAGE = "localhost/mcimport-trial-base", "localhost/mcimport-trial"
SIZE = 30_000
CHANGED = 200
SOMEBODY = 20_002  # a user whom the image does not know, as the one of a crontab
ENGINE = ("podman", "--runtime", "runc", "--cgroup-manager", "cgroupfs")
# podman's own defaults are above what some machines allow.
OPTIONS = ("--rm", "--log-driver", "none", "--network", "host", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=512")
# Runs the program, then tells the most memory (in kilobytes) and the processor's seconds that the process took.
METER = """\
import resource, sys
from mcimport.__main__ import main
try:
    main()
finally:
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(used.ru_maxrss, used.ru_utime + used.ru_stime)
"""


@dataclass(frozen=True)
class CommandResult:
    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Pod:
    """A pod's folders on this machine, and podman's options for everything that the manifest says of it."""

    folder: Path
    sandbox: Sandbox
    spec: dict[str, Any]

    @property
    def options(self) -> list[str]:
        (container,) = self.spec["containers"]
        context, limits = container["securityContext"], container["resources"]["limits"]
        user = self.spec["securityContext"]
        words = [*OPTIONS, "--user", f"{user['runAsUser']}:{user['runAsGroup']}"]
        words += ["--read-only", "--read-only-tmpfs=false"] if context["readOnlyRootFilesystem"] else []
        words += [] if context["allowPrivilegeEscalation"] else ["--security-opt", "no-new-privileges"]
        words += [f"--cap-drop={one}" for one in context["capabilities"]["drop"]]
        words += ["--memory", limits["memory"].removesuffix("i"), "--cpus", limits["cpu"]]
        words += [f"--env={one['name']}={one['value']}" for one in container["env"]]
        words += sandbox_urls(self.sandbox)
        for mount in container["volumeMounts"]:
            source = f"{self.folder}/{mount['name']}:{mount['mountPath']}"
            words += ["--volume", f"{source}:ro" if mount.get("readOnly") else source]
        return words

    def lay(self, config: str) -> None:
        """As the kubelet does: settings and keys are root's, readable for the pod's group; the state is its own."""
        group = self.spec["securityContext"]["fsGroup"]
        files = {
            "config/mcimport.toml": config,
            "keys/acme-mailchimp": self.sandbox.mailchimp_key,
            "keys/acme-ometria": self.sandbox.ometria_key,
        }
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            path.chmod(0o440)
            os.chown(path, 0, group)
        state = self.folder / "state"
        state.mkdir()
        state.chmod(0o770)
        os.chown(state, 0, group)

    def run(self, *words: str, options: Sequence[str] = ()) -> CommandResult:
        done = run([*ENGINE, "run", *self.options, *options, IMAGE, *words])
        return CommandResult(done.returncode, done.stdout, done.stderr)

    def metered(self) -> tuple[CommandResult, float, float]:
        """A sync, the most resident memory it had in Mi, and the seconds of processor it took."""
        (container,) = self.spec["containers"]
        result = self.run("-c", METER, *container["args"], options=["--entrypoint", "/opt/mcimport/bin/python"])
        kilobytes, seconds = map(float, result.out.split()[-2:]) if result.out else (0.0, 0.0)
        return result, kilobytes / 1024, seconds


def run(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([shutil.which(words[0]) or words[0], *words[1:]], capture_output=True, text=True, check=False)


def sandbox_urls(sandbox: Sandbox) -> list[str]:
    return [
        f"--env=MCIMPORT_MAILCHIMP_URL={sandbox.mailchimp_url}",
        f"--env=MCIMPORT_OMETRIA_URL={sandbox.ometria_url}",
    ]


def manifest(name: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(CRONTAB.with_name("kubernetes").joinpath(name).read_text("utf-8"))
    return document


def make_base(dockerfile: Path, archive: Path) -> None:
    (release,) = re.findall(r"^ARG BASE=debian:(\w+)-slim$", dockerfile.read_text("utf-8"), re.MULTILINE)
    say(f"making a base of Debian {release}'s packages")
    with prerequisite():
        make_debian(release, ["ca-certificates"], archive)
        command("podman", "import", "--quiet", archive, BASE)


def build(dockerfile: Path, pip: Path) -> None:
    """Whom this machine trusts, a proxy's certificate among them, the build trusts; nothing of it is in the image."""
    say("building the image")
    pip.write_text("[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n", encoding="utf-8")
    trust = ("--volume=/etc/ssl/certs:/etc/ssl/certs:ro", f"--volume={pip}:/etc/pip.conf:ro")
    arguments = ("--build-arg", f"BASE={BASE}", "--build-arg", f"VERSION={__version__}")
    how = ("--isolation=chroot", "--layers=false", "--pull-never")
    command("podman", "build", *how, *trust, *arguments, "--file", dockerfile, "--tag", IMAGE, ROOT)


@contextmanager
def image(folder: Path) -> Iterator[None]:
    """There until the end, as is its base."""
    dockerfile = CRONTAB.with_name("Dockerfile")
    try:
        make_base(dockerfile, folder / "base.tar")
        build(dockerfile, folder / "pip.conf")
        yield
    finally:
        for name in (IMAGE, BASE):
            with suppress(FailedError):
                command("podman", "rmi", "--force", name)


def try_the_image() -> Results:
    """What is in it, and what is not."""
    version = run([*ENGINE, "run", *OPTIONS, "--read-only", IMAGE, "--version"])
    looked = run(
        [*ENGINE, "run", *OPTIONS, "--entrypoint", "/bin/sh", IMAGE, "-c", "id -u; command -v pip pip3 gcc make"]
    )
    label = command("podman", "inspect", "--format", '{{index .Labels "org.opencontainers.image.version"}}', IMAGE)
    size = int(command("podman", "inspect", "--format", "{{.Size}}", IMAGE)) / 1e6
    return [
        (version.stdout == f"mcimport {__version__}\n", f"the image is {version.stdout.strip()}; {size:.0f} MB"),
        (label.strip() == __version__, "and is labelled so"),
        (looked.stdout == "10001\n", "its user is 10001, and finds no pip, no compiler and no make"),
    ]


def try_the_pod(folder: Path, spec: dict[str, Any], config: str) -> Results:
    """A first sync and an hourly one, within the manifest's limits."""
    with Sandbox(SandboxSettings(size=SIZE, pushes_per_second=100_000)) as sandbox:
        pod, importer = Pod(folder, sandbox, spec), Importer(sandbox, folder)
        pod.lay(config + "ometria.requests_per_second = 500\n")
        first, first_peak, first_seconds = pod.metered()
        is_carried = imported_ids(importer) == expected_ids(importer) != set()
        sandbox.audience().change(CHANGED)
        hourly, hourly_peak, hourly_seconds = pod.metered()
        is_renewed = imported_ids(importer) == expected_ids(importer)
        elsewhere = pod.run("-c", "touch /tmp/x", options=["--entrypoint", "/bin/sh"])
    say(f"a first sync of {SIZE:,} took {first_peak:.0f} Mi and {first_seconds:.1f} s of processor {first.err}")
    say(f"an hourly one of {CHANGED} took {hourly_peak:.0f} Mi and {hourly_seconds:.1f} s of processor {hourly.err}")
    requested = float(spec["containers"][0]["resources"]["requests"]["memory"].removesuffix("Mi"))
    return [
        (first.code in {0, 3} and is_carried, f"as the pod it carries {SIZE:,} people (exit {first.code})"),
        (hourly.code == 0 and is_renewed, f"and {CHANGED} who changed (exit {hourly.code})"),
        (
            0 < max(first_peak, hourly_peak) < requested,
            f"in less than the {requested:.0f} Mi asked for",
        ),
        (elsewhere.code != 0, "and cannot even write to /tmp"),
    ]


def try_to_stop(folder: Path, spec: dict[str, Any], config: str) -> Results:
    """SIGTERM, as a drained node sends it, to the first process of a container."""
    under_way = Event()
    knobs = SandboxSettings(size=20_000, latency=0.2, on_page=lambda _: under_way.set())
    with Sandbox(knobs) as sandbox:
        pod = Pod(folder, sandbox, spec)
        pod.lay(config)
        words = [*ENGINE, "run", "--name", "mcimport-trial", *pod.options, IMAGE, "sync", "--quiet"]
        with subprocess.Popen([shutil.which(words[0]) or words[0], *words[1:]], stderr=subprocess.PIPE) as process:
            under_way.wait(60)
            grace = str(spec["terminationGracePeriodSeconds"])
            command("podman", "stop", "--time", grace, "mcimport-trial")
            code = process.wait()
    return [(code == 143, f"asked to leave in the middle, it does: exit {code}")]


def line_for(laid: Laid) -> str:
    """The crontab's line for a container, with podman for docker, laid folders, and a user whom no image knows."""
    new = {
        "/usr/bin/docker run --rm": " ".join([shutil.which("podman") or "", *ENGINE[1:], "run", *OPTIONS]),
        "id -u mcimport": f"echo {SOMEBODY}",
        "id -g mcimport": f"echo {SOMEBODY}",
        " mcimport sync": f" {IMAGE} sync",
        ">>/var/log/mcimport": f">>{laid.paths['/var/log/mcimport']}",
        "--env-file /etc/mcimport": f"--env-file {laid.paths['/etc/mcimport']}",
        "--volume /etc/mcimport": f"--volume {laid.paths['/etc/mcimport']}",
        "--volume /var/lib/mcimport": f"--volume {laid.paths['/var/lib/mcimport']}",
    }
    (entry,) = entries(in_a_container(CRONTAB.read_text(encoding="utf-8")))
    return replaced(entry.command, new)


def try_the_crontab(folder: Path) -> Results:
    with Sandbox(SandboxSettings(size=200, pushes_per_second=100_000)) as sandbox:
        settings = SETTINGS.format(
            list_key=sandbox.list_key, mailchimp_url=sandbox.mailchimp_url, ometria_url=sandbox.ometria_url
        )
        laid = lay(folder, settings, (sandbox.mailchimp_key, sandbox.ometria_key))
        command("chown", "--recursive", f"{SOMEBODY}:{SOMEBODY}", folder)
        result = run(["sh", "-c", line_for(laid)])
        importer = Importer(sandbox, folder)
        is_carried = imported_ids(importer) == expected_ids(importer) != set()
    log = laid.log.read_text(encoding="utf-8")
    held = result.returncode == 0 and is_carried and log == ""
    return [(held, f"cron's line for the image carries everybody {log}".strip())]


def trial() -> Results:
    need(["podman", "runc", "mmdebstrap", "ca-certificates"])
    spec = manifest("cronjob.yaml")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    config = manifest("configmap.yaml")["data"]["mcimport.toml"]
    with tempfile.TemporaryDirectory(prefix="mcimport-image-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with image(folder):
            return [
                *try_the_image(),
                *try_the_pod(folder / "pod", spec, config),
                *try_to_stop(folder / "stopped", spec, config),
                *try_the_crontab(folder / "cron"),
            ]


if __name__ == "__main__":
    sys.exit(attempt("in a container", trial))
