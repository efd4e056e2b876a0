"""Selects parts of a response by the parameters `fields` and `exclude_fields`, which hold dotted names."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from msgspec import Struct

Tree = dict[str, "Tree"]
"""Selected names, nested; an empty tree selects everything."""


class FieldSelection(Struct, frozen=True):
    """Holds a selection of fields. Selections with the same `key` are the same."""

    keep: Tree | None = None
    drop: Tree | None = None
    key: str = ""

    def includes(self, name: str) -> bool:
        if self.keep is not None:
            return name in self.keep
        return self.drop is None or self.drop.get(name) != {}

    def within(self, name: str) -> FieldSelection:
        """Returns the selection among the parts of one field, which is included."""
        keep = self.keep.get(name) if self.keep is not None else None
        drop = self.drop.get(name) if self.drop is not None else None
        return FieldSelection(keep or None, drop or None, f"{self.key}/{name}")

    @property
    def has_parts(self) -> bool:
        return any((self.keep or {}).values())

    def without_parts(self, *, is_empty: bool) -> FieldSelection:
        """Returns the selection of a server that does not know dotted names: these fields are absent, or empty."""
        nothing: Tree = {"": {}}
        keep = {name: nothing if branch else {} for name, branch in (self.keep or {}).items() if is_empty or not branch}
        return FieldSelection(keep, self.drop, f"{self.key}{'empty' if is_empty else 'absent'}")

    def is_only(self, name: str) -> bool:
        return self.keep is not None and self.keep.keys() <= {name}

    def apply(self, value: Mapping[str, Any]) -> dict[str, Any]:
        if self.keep is not None:
            return _kept(value, self.keep)
        return dict(value) if self.drop is None else _dropped(value, self.drop)


@lru_cache(maxsize=256)
def parse_selection(fields: str | None, exclude: str | None) -> FieldSelection:
    """Returns the selection that the parameters ask for. Raises ValueError when both are given, as the API does."""
    if fields and exclude:
        raise ValueError("both fields and exclude_fields")
    if fields:
        return FieldSelection(keep=_tree(fields), key=f"+{fields}")
    return FieldSelection(drop=_tree(exclude), key=f"-{exclude}") if exclude else FieldSelection()


def _tree(names: str) -> Tree:
    paths = {tuple(name.strip().split(".")) for name in names.split(",") if name.strip()}
    root: Tree = {}
    for path in paths:
        if any(path[:n] in paths for n in range(1, len(path))):
            continue  # "a,a.b" names all of a
        branch = root
        for part in path:
            branch = branch.setdefault(part, {})
    return root


def _kept(value: Mapping[str, Any], tree: Tree) -> dict[str, Any]:
    return {name: _part(value[name], branch, _kept) for name, branch in tree.items() if name in value}


def _dropped(value: Mapping[str, Any], tree: Tree) -> dict[str, Any]:
    return {name: _part(part, tree.get(name, {}), _dropped) for name, part in value.items() if tree.get(name) != {}}


def _part(value: Any, branch: Tree, select: Any) -> Any:
    if not branch:
        return value
    if isinstance(value, list):
        return [_part(item, branch, select) for item in value]
    return select(value, branch) if isinstance(value, dict) else value
