"""Finds environment variables that are called like mcimport's, and that nothing reads."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping

from mcimport.config.messages import did_you_mean
from mcimport.config.variables import KNOWN, PREFIX

# Kubernetes sets these in every pod for a Service called mcimport, as Docker did for linked containers.
_OF_A_SERVICE = re.compile(r"(\w+_)?(SERVICE_(HOST|PORT(_\w+)?)|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)")
_MEANT = {name.removeprefix(PREFIX): name for name in KNOWN}  # compared without what all names share


def misspelt(environ: Mapping[str, str], references: Collection[str]) -> Iterator[str]:
    """Yields a line for each variable that is set, is called like one of mcimport's, and is none.

    `references`: the names that the settings refer to as `env:NAME`, whatever they are.
    """
    for name in sorted(environ):
        prefix, rest = name[: len(PREFIX)].upper(), name[len(PREFIX) :].upper()
        is_read = name in KNOWN or name in references or not environ[name]
        if prefix == PREFIX and not is_read and not _OF_A_SERVICE.fullmatch(rest):
            yield f"{name} is not a variable of mcimport{did_you_mean(rest, _MEANT, prefix=PREFIX)}"
