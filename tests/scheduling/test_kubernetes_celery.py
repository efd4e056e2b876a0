"""The component for Kubernetes: put upon the base, held against the same schemas, and to its promises."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped] # the package ships no types
import manifests
import pytest
from manifests import BASE, COMPONENT, MOUNTS, base, component, releases, volumes, with_component

from mcimport.config import load
from mcimport.services.http.shutdown import LEAVE_WITHIN

BROKER = "/run/secrets/broker-url"


def the(kind: str, name: str = "") -> dict[str, Any]:
    return manifests.the(with_component(), kind, name)


def pod_of(kind: str, name: str) -> Any:
    spec = the(kind, name)["spec"]
    return (spec["jobTemplate"]["spec"] if kind == "CronJob" else spec)["template"]["spec"]


@pytest.fixture
def deployment() -> Any:
    return the("Deployment")["spec"]


@pytest.fixture
def worker() -> Any:
    return pod_of("Deployment", "mcimport-worker")


@pytest.fixture
def coordinator() -> Any:
    return pod_of("CronJob", "mcimport")


def container(pod: dict[str, Any]) -> Any:
    (only,) = pod["containers"]
    return only


def test_every_file_of_the_component_is_used() -> None:
    """No manifest lies beside its kustomization that it does not list; it adds the workers, and no broker."""
    assert component()["kind"] == "Component"  # kustomize refuses an overlay below its base
    assert {one.name for one in COMPONENT.iterdir()} == {"kustomization.yaml", *component()["resources"]}
    added = [one["kind"] for one in with_component()[len(base()) :]]
    assert added == ["Deployment"]


@pytest.mark.parametrize("release", releases())
def test_the_manifests_are_what_the_release_takes(release: str) -> None:
    """Every document is valid in it, patched ones too, without a field that it does not know."""
    for document in with_component():
        assert kubernetes_validate.validate(document, release, strict=True) == release


@pytest.mark.parametrize("release", releases())
def test_a_misspelt_field_is_noticed_wherever_it_stands(release: str) -> None:
    """The check above is strict down to a patched volume."""
    document = copy.deepcopy(the("CronJob", "mcimport"))
    volume = document["spec"]["jobTemplate"]["spec"]["template"]["spec"]["volumes"][-1]
    volume["secret"]["secretname"] = volume["secret"].pop("secretName")
    with pytest.raises(kubernetes_validate.ValidationError, match="secretname"):
        kubernetes_validate.validate(document, release, strict=True)


def test_a_patch_that_meets_nothing_is_noticed() -> None:
    """The reader of patches is none that takes anything."""
    with pytest.raises(ValueError, match="replace /data/other"):
        manifests.patched({"data": {}}, [{"op": "replace", "path": "/data/other", "value": ""}])


def test_the_coordinator_is_the_hourly_job(coordinator: dict[str, Any]) -> None:
    """Its command asks for the engine; but for that and the broker's address it is the base's."""
    unchanged = manifests.the(base(), "CronJob", "mcimport")
    assert container(coordinator)["args"] == ["sync", "--engine", "celery", "--quiet"]
    document = the("CronJob", "mcimport")
    pod = document["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    container(pod)["args"] = ["sync", "--quiet"]
    assert container(pod)["volumeMounts"].pop()["name"] == pod["volumes"].pop()["name"] == "broker"
    assert document == unchanged


def test_the_weekly_job_stays_as_it_is() -> None:
    """It compares both sides without workers, and needs no broker."""
    assert the("CronJob", "mcimport-reconcile") == manifests.the(base(), "CronJob", "mcimport-reconcile")


def test_five_workers_start_together(deployment: dict[str, Any], worker: dict[str, Any]) -> None:
    """All end before the first new one starts, so that the queues are shared out evenly."""
    assert deployment["replicas"] == 5
    assert deployment["strategy"] == {"type": "Recreate"}
    assert container(worker)["args"] == ["worker"]
    assert "command" not in container(worker)  # the image's own


def test_a_worker_is_not_taken_for_a_job(deployment: dict[str, Any], coordinator: dict[str, Any]) -> None:
    """The Deployment finds its own pods by a label that no job's pod has; so does what spreads them."""
    wanted = deployment["selector"]["matchLabels"]
    assert deployment["template"]["metadata"]["labels"] == wanted
    for name in ("mcimport", "mcimport-reconcile"):
        labels = the("CronJob", name)["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"]
        assert not wanted.items() <= labels.items()
    (spread,) = deployment["template"]["spec"]["topologySpreadConstraints"]
    assert spread["labelSelector"]["matchLabels"] == wanted
    assert "topologySpreadConstraints" not in coordinator


def test_there_is_time_to_leave(worker: dict[str, Any]) -> None:
    """The grace period is above our own, with time to tell what became of the pages."""
    assert worker["terminationGracePeriodSeconds"] >= LEAVE_WITHIN + 10


def test_a_worker_may_do_no_more_than_the_coordinator(worker: dict[str, Any], coordinator: dict[str, Any]) -> None:
    """User, groups, capabilities, file system, limits and what the cluster tells it are the same."""
    for name in ("securityContext", "automountServiceAccountToken", "enableServiceLinks"):
        assert worker[name] == coordinator[name]
    for name in ("securityContext", "resources", "image"):
        assert container(worker)[name] == container(coordinator)[name]
    assert not {"hostNetwork", "hostPID", "hostIPC"} & worker.keys()


def test_a_worker_has_no_state_and_writes_nowhere(worker: dict[str, Any]) -> None:
    """Settings, keys and the broker's address are mounted, read-only, and nothing else is."""
    mounts = {one["name"]: one for one in container(worker)["volumeMounts"]}
    assert {name: one["mountPath"] for name, one in mounts.items()} == {
        "config": MOUNTS["config"],
        "keys": MOUNTS["keys"],
        "broker": BROKER,
    }
    assert all(one["readOnly"] for one in mounts.values())
    assert volumes(worker).keys() == mounts.keys()


def test_both_read_the_same_files(worker: dict[str, Any], coordinator: dict[str, Any]) -> None:
    """Settings, keys and address come from the same objects, to the same places, for the pod's group alone."""
    of_worker, of_coordinator = volumes(worker), volumes(coordinator)
    assert of_worker == {name: one for name, one in of_coordinator.items() if name != "state"}
    assert of_worker["broker"] == {"secret": {"secretName": "mcimport-broker", "defaultMode": 0o440}}
    mounts = container(worker)["volumeMounts"]
    assert mounts == [one for one in container(coordinator)["volumeMounts"] if one["name"] != "state"]
    assert [one["subPath"] for one in mounts if one["name"] == "broker"] == [Path(BROKER).name]


def test_no_secret_is_in_an_environment(worker: dict[str, Any], coordinator: dict[str, Any]) -> None:
    """A worker is told where its settings are and how to log; the coordinator, where the state is, too."""
    told = [{one["name"]: one["value"] for one in container(pod)["env"]} for pod in (worker, coordinator)]
    assert told[1].pop("MCIMPORT_DB") == f"{MOUNTS['state']}/mcimport.db"
    assert told[0] == told[1] == {"MCIMPORT_CONFIG": "/etc/mcimport/mcimport.toml", "MCIMPORT_LOG_FORMAT": "json"}
    assert not any("envFrom" in container(pod) for pod in (worker, coordinator))


def test_the_settings_load_and_name_the_engine(tmp_path: Path) -> None:
    """The ConfigMap's file is the base's with the table [engine]: Celery, and the address as a mounted file."""
    known = []
    for documents in (base(), with_component()):
        path = tmp_path / "mcimport.toml"
        path.write_text(manifests.the(documents, "ConfigMap")["data"]["mcimport.toml"], encoding="utf-8")
        known.append(load(config=path, environ={"MCIMPORT_DB": str(tmp_path / "state.db")}, cwd=tmp_path))
    assert known[1].engine.kind == "celery"
    assert known[1].engine.source.spec.get_secret_value() == f"file:{BROKER}"
    assert known[1].clients == known[0].clients


def test_the_base_does_not_know_of_it() -> None:
    """Who does not want it gets the base as it was."""
    texts = [one.read_text(encoding="utf-8") for one in BASE.iterdir() if one.is_file()]
    assert not any("celery" in text for text in texts)
