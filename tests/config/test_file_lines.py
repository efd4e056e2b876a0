"""Where a setting stands in its file, also where the file is broken."""

from __future__ import annotations

import tomllib
from typing import Any

import tomlkit
from hypothesis import given
from hypothesis import strategies as st

from mcimport.config import template
from mcimport.config.file_lines import locate
from mcimport.config.template import EXAMPLE

UNUSUAL = """\
# a comment
mailchimp = { window = 5, timeout = 6 }
"ometria".batch = 7

[fields]
"A.B" = ''
TEXT = \"\"\"
[clients.nobody]
\"\"\"

[clients."a b".notify]   # a header of three parts
overdue = "3h"

[clients."a b"]
lists = [
    "1a2d7ebf82",  # ]
    "2b3e8fc093",
]
mailchimp_api_key = "k"
"""


def test_each_setting_is_found_in_its_line() -> None:
    """Inline tables, dotted and quoted keys, values of several lines and their contents."""
    lines = locate(UNUSUAL).lines
    assert lines["mailchimp", "timeout"] == 2
    assert lines["ometria", "batch"] == 3
    assert lines["fields", "A.B"] == 6
    assert lines["fields", "TEXT"] == 7
    assert lines["clients", "a b", "notify", "overdue"] == 12
    assert lines["clients", "a b", "lists"] == 15
    assert lines["clients", "a b", "mailchimp_api_key"] == 19
    assert ("clients", "nobody") not in lines


def test_a_file_in_order_is_read_as_tomllib_reads_it() -> None:
    """Line by line or as a whole, the document is the same; with line ends of either kind."""
    for text in (UNUSUAL, template(EXAMPLE), template(EXAMPLE).replace("\n", "\r\n")):
        assert locate(text).document == tomllib.loads(text)


_SCALARS = st.booleans() | st.integers(-9, 9) | st.text(max_size=9) | st.lists(st.text(max_size=5), max_size=3)
_TABLES = st.recursive(_SCALARS, lambda inner: st.dictionaries(st.text(min_size=1, max_size=5), inner, max_size=4))


@given(st.dictionaries(st.text(min_size=1, max_size=5), _TABLES, max_size=5))
def test_whatever_is_written_is_read_as_tomllib_reads_it(document: dict[str, Any]) -> None:
    """Any names and texts, in tables at any depth."""
    assert locate(tomlkit.dumps(document)).document == document


def test_what_surrounds_a_broken_line_is_read() -> None:
    """A value that is missing, a bracket that is never closed and a second value cost their own lines alone."""
    text = '[mailchimp]\nwindow =\ntimeout = 5\ntimeout = 6\n[ometria]\nbatch = [1,\n[retry]\nwait = """\nretries = 2\n'
    found = locate(text)
    assert found.document == {"mailchimp": {"timeout": 5}, "ometria": {}, "retry": {"retries": 2}}
    assert found.lines["retry", "retries"] == 9
