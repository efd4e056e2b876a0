"""The component for minutes instead of an hour: put upon the base, held against the schemas, and to its promises."""

from __future__ import annotations

from typing import Any

import kubernetes_validate  # type: ignore[import-untyped] # the package ships no types
import manifests
import pytest
from manifests import EVERY, component, releases, volumes, with_component

from mcimport.cli.schedule import parse_interval
from mcimport.services.http.shutdown import LEAVE_WITHIN


def the(kind: str, name: str = "") -> dict[str, Any]:
    return manifests.the(with_component(EVERY), kind, name)


def pod_of(document: dict[str, Any]) -> Any:
    spec = document["spec"]
    return (spec["jobTemplate"]["spec"] if document["kind"] == "CronJob" else spec)["template"]["spec"]


def test_every_file_of_the_component_is_used() -> None:
    """No manifest lies beside its kustomization that it does not list."""
    assert component(EVERY)["kind"] == "Component"
    assert {one.name for one in EVERY.iterdir()} == {"kustomization.yaml", *component(EVERY)["resources"]}


@pytest.mark.parametrize("release", releases())
def test_the_manifests_are_what_the_release_takes(release: str) -> None:
    """Every document is valid in it, patched ones too, without a field that it does not know."""
    for document in with_component(EVERY):
        assert kubernetes_validate.validate(document, release, strict=True) == release


def test_one_pod_syncs_every_five_minutes_and_the_hourly_job_rests() -> None:
    """Two of them would turn each other away, or know nothing of each other's state."""
    deployment = the("Deployment")["spec"]
    assert (deployment["replicas"], deployment["strategy"]["type"]) == (1, "Recreate")
    (container,) = pod_of(the("Deployment"))["containers"]
    command, option, interval, *_ = container["args"]
    assert (command, option, parse_interval(interval)) == ("sync", "--every", 300)
    assert the("CronJob", "mcimport")["spec"]["suspend"] is True
    assert "suspend" not in the("CronJob", "mcimport-reconcile")["spec"]


def test_its_pod_is_that_of_the_hourly_job() -> None:
    """The same user, limits, mounts and volumes: only what it is called with differs."""
    ours, jobs = (pod_of(the(kind, "mcimport")) for kind in ("Deployment", "CronJob"))
    assert ours["securityContext"] == jobs["securityContext"]
    assert volumes(ours) == volumes(jobs)
    (container,), (of_job,) = ours["containers"], jobs["containers"]
    assert {**container, "args": of_job["args"]} == of_job
    assert ours["terminationGracePeriodSeconds"] > LEAVE_WITHIN


def test_the_weekly_comparison_gets_at_the_state_beside_it() -> None:
    """The claim lets pods of one node at it, and the comparison runs on the node of the Deployment's pod."""
    assert the("PersistentVolumeClaim")["spec"]["accessModes"] == ["ReadWriteOnce"]
    pod = pod_of(the("CronJob", "mcimport-reconcile"))
    (term,) = pod["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    labels = the("Deployment")["spec"]["template"]["metadata"]["labels"]
    assert term["topologyKey"] == "kubernetes.io/hostname"
    assert term["labelSelector"]["matchLabels"].items() <= labels.items()
