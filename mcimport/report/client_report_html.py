"""One page in HTML of what was done for clients in a period; it needs nothing but itself: no script, no other file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape

from mcimport.models.activity import ClientActivity
from mcimport.report.client_report import comparison_text, facts, period, synced_text

_WIDTH, _HEIGHT, _LABELS = 640, 120, 18  # of the chart, in pixels; `_LABELS`: the height of the line below it
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2733; max-width: 44em; margin: 2em auto; padding: 0 1em }
h2 { margin: 2em 0 0 }
table { border-collapse: collapse; width: 100%; margin: 1em 0 }
th, td { text-align: left; vertical-align: top; padding: .3em .8em .3em 0; border-bottom: 1px solid #dde3ea }
thead th { border-bottom-color: #8a97a6 }
.period, figcaption { color: #5a6775 }
figure { margin: 1em 0 }
"""
_LIST_HEADS = ("list", "contacts imported", "synced", "compared")


def page(activities: Sequence[ClientActivity]) -> str:
    """Returns the page: a section for each client, with its numbers, a chart and its lists."""
    title = "From Mailchimp to Ometria"
    body = "\n".join(_section(found) for found in activities)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n{body}\n</body>\n</html>\n"
    )


def chart(days: Mapping[str, int]) -> str:
    """Returns an SVG image with a bar for each day, scaled to the highest. `days`: contacts by day, in their order."""
    top, names = max(days.values(), default=0), list(days)
    step = _WIDTH / max(1, len(days))
    bars = "".join(
        _bar(f"{day}: {contacts:,}", place * step, step, contacts / top * _HEIGHT)
        for place, (day, contacts) in enumerate(days.items())
        if contacts > 0
    )
    ends = [(0, "start", names[0]), (_WIDTH, "end", names[-1])] if names else []
    labels = "".join(
        f'<text x="{x}" y="{_HEIGHT + _LABELS - 4}" text-anchor="{anchor}" font-size="12" fill="#5a6775">'
        f"{escape(day)}</text>"
        for x, anchor, day in ends[: len(days)]
    )
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT + _LABELS}" width="100%" role="img" aria-label="contacts a day">'
        f'<line x1="0" y1="{_HEIGHT}" x2="{_WIDTH}" y2="{_HEIGHT}" stroke="#8a97a6"/>{bars}{labels}</svg>'
    )


def _bar(words: str, left: float, step: float, height: float) -> str:
    gap = min(4.0, step / 4)
    return (
        f'<rect x="{left + gap / 2:.2f}" y="{_HEIGHT - height:.2f}" width="{step - gap:.2f}" height="{height:.2f}"'
        f' fill="#2563a8"><title>{escape(words)}</title></rect>'
    )


def _section(found: ClientActivity) -> str:
    top = max(found.days.values(), default=0)
    told = "".join(_row((subject, words), head=True) for subject, words in facts(found) if words)
    rows = "".join(
        _row((one.list_key, f"{one.sums.contacts_pushed:,}", synced_text(one), comparison_text(one)))
        for one in found.lists
    )
    heads = "".join(f'<th scope="col">{escape(head)}</th>' for head in _LIST_HEADS)
    return (
        f'<h2>{escape(found.client)}</h2>\n<p class="period">{escape(period(found))}</p>\n'
        f"<table>{told}</table>\n"
        f"<figure>{chart(found.days)}<figcaption>Contacts imported a day, {top:,} at most (days in UTC)</figcaption>"
        f"</figure>\n<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
    )


def _row(cells: Iterable[str], *, head: bool = False) -> str:
    return f"<tr>{''.join(_cells(cells, head=head))}</tr>"


def _cells(cells: Iterable[str], *, head: bool) -> Iterator[str]:
    """Yields cells, escaped. `head`: the first of them names the others."""
    for place, words in enumerate(cells):
        tag, scope = ("th", ' scope="row"') if head and place == 0 else ("td", "")
        yield f"<{tag}{scope}>{escape(words)}</{tag}>"
