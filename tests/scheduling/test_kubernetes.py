"""The Kubernetes manifests: rendered, held against the schemas of every release they are for, and to their promises."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped] # the package ships no types
import manifests
import pytest
from crontab_table import CRONTAB, PROGRAM, entries
from manifests import BASE, MOUNTS, base, releases, volumes

from mcimport.cli.exits import DEAD_LETTERS, FAILED, USAGE
from mcimport.config import load
from mcimport.services.http.shutdown import LEAVE_WITHIN
from mcimport.version import __version__


def the(kind: str, name: str = "") -> dict[str, Any]:
    return manifests.the(base(), kind, name)


CRON_JOBS = ("mcimport", "mcimport-reconcile")


@pytest.fixture(params=CRON_JOBS)
def cron(request: pytest.FixtureRequest) -> Any:
    """Both must be right in every way."""
    return the("CronJob", request.param)["spec"]


@pytest.fixture
def job(cron: dict[str, Any]) -> Any:
    return cron["jobTemplate"]["spec"]


@pytest.fixture
def pod(job: dict[str, Any]) -> Any:
    return job["template"]["spec"]


@pytest.fixture
def container(pod: dict[str, Any]) -> Any:
    (only,) = pod["containers"]
    return only


def test_every_file_of_the_base_is_rendered() -> None:
    """No manifest lies beside the kustomization that it does not list, and there is no Secret among them."""
    assert [one["kind"] for one in base()] == ["ConfigMap", "PersistentVolumeClaim", *["CronJob"] * 2]
    assert len([one for one in BASE.iterdir() if one.is_file()]) == 5


@pytest.mark.parametrize("release", releases())
def test_the_manifests_are_what_the_release_takes(release: str) -> None:
    """Every document is valid in it, without a field that it does not know."""
    for document in base():
        assert kubernetes_validate.validate(document, release, strict=True) == release


@pytest.mark.parametrize("release", releases())
def test_a_misspelt_field_is_noticed_wherever_it_stands(release: str) -> None:
    """The check above is strict down to the container."""
    document = copy.deepcopy(the("CronJob", "mcimport"))
    (container,) = document["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    container["securityContext"]["readOnlyRootFileSystem"] = True
    with pytest.raises(kubernetes_validate.ValidationError, match="readOnlyRootFileSystem"):
        kubernetes_validate.validate(document, release, strict=True)


def test_they_do_what_cron_would() -> None:
    """Each has the schedule and the command of a line of the crontab."""
    jobs = [the("CronJob", name)["spec"] for name in CRON_JOBS]
    for entry, cron in zip(entries(CRONTAB.read_text(encoding="utf-8")), jobs, strict=True):
        (container,) = cron["jobTemplate"]["spec"]["template"]["spec"]["containers"]
        assert cron["schedule"] == entry.schedule
        assert entry.command.endswith(f" {PROGRAM} {' '.join(container['args'])}")


def test_a_late_start_is_made_up_for(cron: dict[str, Any]) -> None:
    """In UTC, and within the hour."""
    assert cron["timeZone"] == "Etc/UTC"
    assert 0 < cron["startingDeadlineSeconds"] < 3_600


def test_one_run_at_a_time(cron: dict[str, Any], job: dict[str, Any]) -> None:
    """A run that goes on is left alone, and a second try waits until the first pod has ended."""
    assert cron["concurrencyPolicy"] == "Forbid"
    assert job["podReplacementPolicy"] == "Failed"
    assert job.get("parallelism", 1) == job.get("completions", 1) == 1


def test_a_run_that_hangs_is_ended(job: dict[str, Any]) -> None:
    """There is an end, later than a long run and than the next hour's turn."""
    assert 3_600 < job["activeDeadlineSeconds"] <= 6 * 3_600


def test_there_is_time_to_leave(pod: dict[str, Any]) -> None:
    """The grace period is above our own, with time to record what is known."""
    assert pod["terminationGracePeriodSeconds"] >= LEAVE_WITHIN + 10


def test_each_exit_code_ends_as_it_should(job: dict[str, Any], pod: dict[str, Any], container: dict[str, Any]) -> None:
    """A drained node is not counted, before all else; 2 and 3 have no second try; 1 has two more."""
    assert pod["restartPolicy"] == "Never"  # without which there is no such policy
    drained, final, counts = job["podFailurePolicy"]["rules"]
    assert drained == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    codes = {"containerName": container["name"], "operator": "In"}
    assert final == {"action": "FailJob", "onExitCodes": {**codes, "values": [USAGE, DEAD_LETTERS]}}
    assert counts == {"action": "Count", "onExitCodes": {**codes, "values": [FAILED]}}
    assert job["backoffLimit"] == 2


def test_the_state_is_one_pods_alone(pod: dict[str, Any]) -> None:
    """It lies on a ReadWriteOncePod claim of the base."""
    claim = the("PersistentVolumeClaim")
    assert claim["spec"]["accessModes"] == ["ReadWriteOncePod"]
    assert volumes(pod)["state"] == {"persistentVolumeClaim": {"claimName": claim["metadata"]["name"]}}


def test_nothing_is_writable_but_the_state(pod: dict[str, Any], container: dict[str, Any]) -> None:
    """Settings, keys and the image itself are read-only."""
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    mounts = {one["name"]: one for one in container["volumeMounts"]}
    assert {name: one["mountPath"] for name, one in mounts.items()} == MOUNTS
    assert volumes(pod).keys() == mounts.keys()
    assert [name for name, one in mounts.items() if not one.get("readOnly")] == ["state"]


def test_the_program_is_told_where_things_are(container: dict[str, Any]) -> None:
    """It reads the mounted settings and writes the mounted state; no key is in its environment."""
    environment = {one["name"]: one["value"] for one in container["env"]}
    assert environment == {
        "MCIMPORT_CONFIG": f"{MOUNTS['config']}/mcimport.toml",
        "MCIMPORT_DB": f"{MOUNTS['state']}/mcimport.db",
        "MCIMPORT_LOG_FORMAT": "json",
    }
    assert "envFrom" not in container
    assert "command" not in container  # the image's own


def test_the_settings_load_and_name_every_key_as_a_file(pod: dict[str, Any], tmp_path: Path) -> None:
    """The ConfigMap's file is a valid one; each key is a file below the Secret's mount."""
    config_map = the("ConfigMap")
    assert volumes(pod)["config"] == {"configMap": {"name": config_map["metadata"]["name"]}}
    assert config_map["data"].keys() == {"mcimport.toml"}
    path = tmp_path / "mcimport.toml"
    path.write_text(config_map["data"]["mcimport.toml"], encoding="utf-8")
    clients = load(config=path, environ={"MCIMPORT_DB": str(tmp_path / "state.db")}, cwd=tmp_path).clients
    assert {name: client.lists for name, client in clients.items()} == {"acme": ("1a2d7ebf82",)}
    sources = [one for client in clients.values() for one in (client.mailchimp_source, client.ometria_source)]
    keys = [one.spec.get_secret_value() for one in sources]
    assert keys == [f"file:{MOUNTS['keys']}/acme-{service}" for service in ("mailchimp", "ometria")]


def test_keys_are_read_by_the_pods_own_user_and_group_alone(pod: dict[str, Any]) -> None:
    """The Secret is mounted with no permission for others, and group read for the pod's group."""
    assert volumes(pod)["keys"] == {"secret": {"secretName": "mcimport-keys", "defaultMode": 0o440}}
    assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsGroup"]


def test_the_state_file_is_not_opened_to_the_group_again_and_again(pod: dict[str, Any]) -> None:
    """The owner of the volume is changed when it is new, and not with each run."""
    assert pod["securityContext"]["fsGroupChangePolicy"] == "OnRootMismatch"


def test_it_is_nobody_in_particular(pod: dict[str, Any], container: dict[str, Any]) -> None:
    """The image's own user, who is not root, without capabilities, under the runtime's filter of system calls."""
    context = pod["securityContext"]
    user = re.findall(r"^USER (\d+):(\d+)$", CRONTAB.with_name("Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert user == [(str(context["runAsUser"]), str(context["runAsGroup"]))]
    assert context["runAsNonRoot"] is True
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert "privileged" not in container["securityContext"]
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()


def test_it_has_no_word_in_the_cluster(pod: dict[str, Any]) -> None:
    """No token of a service account is mounted, and no service's address is put into the environment."""
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False


def test_it_asks_for_what_it_needs_and_has_an_upper_bound(container: dict[str, Any]) -> None:
    """Processor and memory have a request and a limit each."""
    resources = container["resources"]
    assert resources["requests"].keys() == resources["limits"].keys() == {"cpu", "memory"}


def test_the_image_is_this_version_from_nobodys_registry(container: dict[str, Any]) -> None:
    """Until an overlay names the image, none can be pulled: `.example` is reserved."""
    assert container["image"] == f"registry.example/mcimport:{__version__}"
