"""Members beside the contacts they become, and where a list's fields go: the only place that shows personal data."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import zip_longest
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec.structs import replace
from rich.cells import cell_len, set_cell_size

from mcimport.cli import field_table, read_state
from mcimport.config import Client, Settings
from mcimport.convert import encode_contact, has_sms_status, lacks_tags, make_converter, permissions_of
from mcimport.engine.page.permissions import look_at_list
from mcimport.engine.page.subscription_events import event_filters
from mcimport.errors import ConfigError, NotFoundError, ServiceError
from mcimport.models import ContactRules, Conversion, Converted, ListFields, Member, OptedIn, Skipped, Unsendable
from mcimport.models.records import ListRow
from mcimport.models.results import Permissions
from mcimport.report.columns import Columns
from mcimport.report.format import escape, out_of, permissions_document, permissions_text
from mcimport.report.tables import make_console, print_lines
from mcimport.services.connections import ConnectionPool
from mcimport.services.http.shutdown import StopSignal
from mcimport.services.mailchimp.client import MailchimpClient
from mcimport.services.mailchimp.list_fields import read_list_fields
from mcimport.services.mailchimp.windows import OVERLAP, optins_new_since
from mcimport.state import destinations, open_state

Pairs = list[tuple[Member, Conversion]]
Facts = list[tuple[str, str]]

OPT_OUT_WARNING = (
    "In Ometria an opt-out outweighs every opt-in: if a person is on two lists and unsubscribes from one, Ometria "
    "stops mailing them for both, and an opt-out recorded in Ometria itself is not lifted by an import."
)
COLUMNS = Columns(heads=("Mailchimp member", "Ometria contact"))
_PLACE = ("country_code", "timezone")  # what is used of `location`
_WIDEST, _GAP = 180, 2  # columns of both sides together, and between them


def preview_list(
    settings: Settings, list_key: str, client: str | None, limit: int, member: str | None, *, json: bool
) -> None:
    """Reads a list and some of its members, and writes what they become. The arguments are the command's."""
    chosen, key = _chosen(settings, list_key, client)
    row = _find_list_row(settings, chosen, key)
    # Until Ometria has accepted a contact, each sync is a first one, and sets `new_since` anew.
    rules = chosen.rules(key, row.new_since if row and row.accepted_at is not None else None)
    with ConnectionPool(StopSignal()).open(chosen) as services:
        members = _members(services.mailchimp, key, limit, member)
        shown = look_at_list(services.mailchimp, key)
        fields = replace(read_list_fields(services.mailchimp, key), has_permissions=shown is not None)
        has_sms = bool(row and row.has_sms) or any(map(has_sms_status, members))
        rules = replace(rules, has_sms=has_sms, until=services.mailchimp.probe(key, "listed", None, 1).at_most)
        events = _count_events(services.mailchimp, rules, row)
    permissions = shown.by(rules) if shown else None
    convert = make_converter(fields, rules)
    pairs = [(found, convert(found)) for found in members]
    (_write_json if json else _write)(pairs, fields, rules, events, chosen.ometria.welcome_limit, permissions)


def _chosen(settings: Settings, list_key: str, client: str | None) -> tuple[Client, str]:
    """Returns the client and the list. Raises ConfigError where no client has the list, or several have it."""
    pairs = settings.select([list_key], [client] if client is not None else [])
    if len(pairs) > 1:
        names = ", ".join(owner.name for owner, _ in pairs)
        raise ConfigError(f"several clients have the list {list_key}", hint=f"Choose one with --client: {names}.")
    return pairs[0]


def _members(mailchimp: MailchimpClient, list_key: str, limit: int, member: str | None) -> list[Member]:
    if member is None:
        members = mailchimp.first_page(list_key, "listed", None, limit).members
        return [_with_all_tags(mailchimp, list_key, member) for member in members]
    try:
        # The id becomes part of a path: what is typed must stay one segment of it.
        return [_with_all_tags(mailchimp, list_key, mailchimp.member(list_key, quote(member, safe="")))]
    except NotFoundError as error:
        raise NotFoundError(
            f"Mailchimp has no such member on list {list_key}, or no such list",
            hint="--member takes a contact_id, as `mcimport dlq show` prints it.",
            status=error.status,
        ) from None


def _with_all_tags(mailchimp: MailchimpClient, list_key: str, member: Member) -> Member:
    """Returns the member with all tags; unchanged where they cannot be fetched, as in a sync."""
    with suppress(ServiceError):
        return mailchimp.with_all_tags(list_key, member) if lacks_tags(member) else member
    return member


def _find_list_row(settings: Settings, client: Client, list_key: str) -> ListRow | None:
    """Returns the list's row for its present destination; None before its first sync there."""
    if not settings.db_path.exists():
        return None
    with open_state(settings.db_path, create=False) as state:
        place = read_state.destination(client, list_key, state)
        if place is None:
            return None
        return destinations.current(state, place) or destinations.of_renamed_client(state, place)


def _count_events(mailchimp: MailchimpClient, rules: ContactRules, row: ListRow | None) -> int:
    """Returns how many opt-ins the next sync would send as new ones, each a subscription event."""
    point = row.sync_point if row else None
    since = None if point is None else point - OVERLAP
    filters = event_filters(rules, [OptedIn(since, opted=optins_new_since(row) if row else None)])
    return sum(mailchimp.count_opted_in(rules.list_key, opted_in) for opted_in in filters)


def _write_json(
    pairs: Pairs, fields: ListFields, rules: ContactRules, events: int, limit: int, permissions: Permissions | None
) -> None:
    read_state.write_json(document(member, conversion) for member, conversion in pairs)
    names, custom = ("tag", "name", "type", "target"), field_table.custom_fields(fields, rules)
    read_state.write_json(
        [
            {
                "list_key": rules.list_key,
                "collection": rules.collection,
                "fields": [dict(zip(names, row, strict=True)) for row in field_table.rows(fields, rules)],
                "interests": list(fields.interests.values()),
                "marketing_permissions": permissions_document(permissions) if permissions else None,
                "subscription_events": events if events <= limit else 0,
                "custom_fields": [{"id": name, "type": kind} for name, kind, _ in custom],
                "fields_table": field_table.fields_table(fields, rules),
            }
        ]
    )


def _write(
    pairs: Pairs, fields: ListFields, rules: ContactRules, events: int, limit: int, permissions: Permissions | None
) -> None:
    for number, (member, conversion) in enumerate(pairs, 1):
        _say(f"Member {out_of(number, len(pairs))}", "")
        _write_sides(member, conversion, fields)
        _say(*(f"  {remark}" for remark in remarks(conversion)), "")
    if not pairs:
        _say("The list has no members.", "")
    _write_fields(fields, rules)
    if permissions:
        _say(f"The list has {permissions_text(permissions)}.")
    caused = f"{events:,}" if events <= limit else f"0, because {events:,} would exceed the welcome_limit of {limit:,}"
    _say(f"Subscription events that the next sync would cause (each can start a welcome campaign): {caused}")
    _say(OPT_OUT_WARNING, "Nothing was pushed.")


def _say(*lines: str) -> None:
    print_lines(sys.stdout, lines)


def _write_sides(member: Member, conversion: Conversion, fields: ListFields) -> None:
    """Writes the member beside the contact, or above it where there is no room for both."""
    both = sides(member, conversion, fields)
    left, right = map(_lines, both)
    if _width(left) + _GAP + _width(right) <= min(_WIDEST, make_console(sys.stdout).width):
        read_state.write_table(COLUMNS, list(zip_longest(left, right, fillvalue="")))
        return
    for head, facts in zip(COLUMNS.heads, both, strict=True):
        _say(head)
        read_state.write_facts((f"  {name}", words) for name, words in facts)


def _write_fields(fields: ListFields, rules: ContactRules) -> None:
    _say(f"Merge fields of list {rules.list_key}, and where they go in collection {rules.collection}", "")
    read_state.write_table(field_table.COLUMNS, field_table.rows(fields, rules))
    if fields.interests:
        names = field_table.interests(fields)
        _say("", "Interests, whose names go to properties.mailchimp_interests", "", f"  {names}")
    remark = "their type cannot be changed later; at most 100 of each type"
    _say("", f"Custom fields to create in Ometria first ({remark})", "")
    custom = field_table.custom_fields(fields, rules)
    read_state.write_table(field_table.CUSTOM_COLUMNS, custom)
    _say(*(f"warning: {words}" for words in field_table.too_many(custom)))
    _say("", "To change any of this, edit this table and put it in place of [fields] in mcimport.toml", "")
    sys.stdout.write(f"{field_table.fields_table(fields, rules)}\n")  # to paste, so no line of it wraps


def sides(member: Member, conversion: Conversion, fields: ListFields) -> tuple[Facts, Facts]:
    """Returns the filled fields of the member, and those of the contact, each with its value; all of it printable."""
    return _filled(_member_pairs(member, fields)), _filled(_contact_pairs(conversion))


def remarks(conversion: Conversion) -> list[str]:
    """Returns why the member becomes no contact, or a line for each field that was left out or changed, and why."""
    reason = _reason_not_sent(conversion)
    if reason or not isinstance(conversion, Converted):
        return [reason]
    return [f"{escape(name)}: {escape(why)}" for name, why in conversion.notes]


def document(member: Member, conversion: Conversion) -> dict[str, Any]:
    """Returns both sides for programs. `contact` is null where `reason` says why."""
    converted = conversion if isinstance(conversion, Converted) else None
    return {
        "member": {name: value for name, value in msgspec.to_builtins(member).items() if value is not None},
        "contact": msgspec.to_builtins(converted.contact) if converted else None,
        "reason": _reason_not_sent(conversion) or None,
        "warnings": list(converted.warnings) if converted else [],
        "notes": [{"field": name, "why": why} for name, why in converted.notes] if converted else [],
    }


def _reason_not_sent(conversion: Conversion) -> str:
    """Returns why the member cannot be sent; empty for one who can."""
    if isinstance(conversion, Skipped):
        return f"skipped: {conversion.reason}"
    encoded = encode_contact(conversion.contact) if isinstance(conversion, Converted) else conversion
    return f"would be a dead letter: {encoded.reason}" if isinstance(encoded, Unsendable) else ""


def _member_pairs(member: Member, fields: ListFields) -> Iterator[tuple[str, str]]:
    for name in Member.__struct_fields__:
        value = getattr(member, name)
        if name == "interests" and isinstance(value, dict):
            yield name, _text([fields.interests.get(key, key) for key, chosen in value.items() if chosen is True])
        elif name in ("merge_fields", "location") and isinstance(value, dict):
            used = (key for key in value if name == "merge_fields" or key in _PLACE)
            yield from ((f"{name}.{key}", _text(value[key])) for key in used)
        elif name == "marketing_permissions":
            yield name, _text(permissions_of(value))
        else:
            yield name, _text(value)


def _contact_pairs(conversion: Conversion) -> Iterator[tuple[str, str]]:
    if not isinstance(conversion, Converted):
        yield "-", _reason_not_sent(conversion)
        return
    for name, value in msgspec.to_builtins(conversion.contact).items():
        if name in ("properties", "channels"):
            yield from ((f"{name}.{key}", _text(part)) for key, part in value.items())
        else:
            yield name, _text(value)


def _text(value: Any) -> str:
    """Returns a value on one line; empty for null."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        parts = ((key, _text(part)) for key, part in value.items())
        return ", ".join(f"{escape(key)}: {part}" for key, part in parts if part)
    if isinstance(value, list):
        return ", ".join(filter(None, map(_named, value)))
    return escape(str(value))


def _named(value: Any) -> str:
    """Returns the name of a tag, which Mailchimp gives as an object; any other value as `_text` does."""
    return _text(value["name"] if isinstance(value, Mapping) and "name" in value else value)


def _filled(pairs: Iterator[tuple[str, str]]) -> Facts:
    return [(escape(name), words) for name, words in pairs if words]


def _lines(facts: Facts) -> list[str]:
    width = _width([name for name, _ in facts])
    return [f"{set_cell_size(name, width)}  {words}" for name, words in facts]


def _width(texts: list[str]) -> int:
    return max(map(cell_len, texts), default=0)
