"""Reads the Kubernetes manifests as kustomize does: the base, and a component that is put upon it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped] # the package ships no types
import yaml
from crontab_table import CRONTAB

BASE = CRONTAB.with_name("kubernetes")
COMPONENT = BASE / "celery"
EVERY = BASE / "every"
OLDEST = (1, 31)  # the first in which the policy on exit codes is no longer a beta
MOUNTS = {"config": "/etc/mcimport", "keys": "/run/secrets/mcimport", "state": "/var/lib/mcimport"}

Document = dict[str, Any]


def releases() -> list[str]:
    """Those that the schemas' package knows, from the oldest that the manifests are for."""
    known = [one.rpartition(".")[0] for one in kubernetes_validate.utils.all_versions()]
    return [one for one in known if tuple(map(int, one.split("."))) >= OLDEST]


def base() -> list[Document]:
    """What kustomize makes of the base: as it only lists resources, rendering is reading."""
    kustomization = yaml.safe_load((BASE / "kustomization.yaml").read_text(encoding="utf-8"))
    assert kustomization.keys() == {"apiVersion", "kind", "resources"}
    texts = [(BASE / name).read_text(encoding="utf-8") for name in kustomization["resources"]]
    return [document for text in texts for document in yaml.safe_load_all(text)]


def component(folder: Path = COMPONENT) -> Document:
    kustomization: Document = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))
    assert kustomization.keys() == {"apiVersion", "kind", "resources", "patches"}
    return kustomization


def with_component(folder: Path = COMPONENT) -> list[Document]:
    """What kustomize makes of an overlay that names the base and the component, and nothing else."""
    kustomization, documents = component(folder), base()
    for name in kustomization["resources"]:
        documents += yaml.safe_load_all((folder / name).read_text(encoding="utf-8"))
    for patch in kustomization["patches"]:
        (index,) = [number for number, one in enumerate(documents) if is_meant(one, patch["target"])]
        documents[index] = patched(documents[index], yaml.safe_load(patch["patch"]))
    return documents


def the(documents: Sequence[Document], kind: str, name: str = "") -> Document:
    (only,) = [one for one in documents if one["kind"] == kind and name in ("", one["metadata"]["name"])]
    return only


def is_meant(document: Document, target: Document) -> bool:
    group, _, version = document["apiVersion"].rpartition("/")
    found = {"group": group, "version": version, "kind": document["kind"], "name": document["metadata"]["name"]}
    return {"group": "", **target} == found


def patched(document: Document, operations: Sequence[Document]) -> Document:
    """By the operations of RFC 6902 that are used: `replace` of what is there, `add` at a list's end or of a name."""
    document = copy.deepcopy(document)
    for operation in operations:
        *way, last = operation["path"].removeprefix("/").split("/")
        place: Any = document
        for step in way:
            place = place[int(step) if isinstance(place, list) else step]
        if operation["op"] == "add" and last == "-":
            place.append(operation["value"])
        elif operation["op"] == ("replace" if last in place else "add"):
            place[last] = operation["value"]
        else:
            raise ValueError(f"{operation['op']} {operation['path']}")
    return document


def volumes(pod: Document) -> Document:
    return {one["name"]: {key: value for key, value in one.items() if key != "name"} for one in pod["volumes"]}
