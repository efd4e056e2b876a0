"""`mcimport preview`: shows members beside the contacts they become, and where a list's fields go; pushes nothing."""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

import typer

from mcimport.cli.options import load_settings
from mcimport.errors import ConfigError, NotFoundError, ServiceError

if TYPE_CHECKING:  # each loads the HTTP client or the tables of countries
    from mcimport.config import Client, Settings
    from mcimport.models import ContactRules, Conversion, ListFields, Member
    from mcimport.models.records import ListRow
    from mcimport.models.results import Permissions
    from mcimport.services.mailchimp.client import MailchimpClient

    Pairs = list[tuple[Member, Conversion]]

OPT_OUT_WARNING = (
    "In Ometria an opt-out outweighs every opt-in: if a person is on two lists and unsubscribes from one, Ometria\n"
    "stops mailing them for both, and an opt-out recorded in Ometria itself is not lifted by an import."
)


def preview(
    context: typer.Context,
    list_key: Annotated[str, typer.Argument(metavar="LIST_KEY")],
    *,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Number of members to show.")] = 5,
    member: Annotated[str | None, typer.Option(metavar="ID", help="Show only the member with this contact_id.")] = None,
    client: Annotated[str | None, typer.Option(metavar="NAME", help="Client, if several have this list.")] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON line per member, and one for the fields.")
    ] = False,
) -> None:
    """Shows members beside the contacts they become, and where the list's fields go. Pushes nothing.

    The only command that shows personal data, on standard output alone.
    """
    from mcimport.convert import has_sms_status, make_converter  # noqa: PLC0415 - loads tables of countries and numbers
    from mcimport.engine.page.permissions import look_at_list  # noqa: PLC0415 - loads the HTTP client
    from mcimport.services.connections import ConnectionPool  # noqa: PLC0415 - loads the HTTP client
    from mcimport.services.http.shutdown import StopSignal  # noqa: PLC0415 - as above
    from mcimport.services.mailchimp.list_fields import read_list_fields  # noqa: PLC0415 - as above

    settings = load_settings(context)
    chosen, key = _chosen(settings, list_key, client)
    row = _find_list_row(settings, chosen, key)
    # Until Ometria has accepted a contact, each sync is a first one, and sets `new_since` anew.
    rules = chosen.rules(key, row.new_since if row and row.accepted_at is not None else None)
    with ConnectionPool(StopSignal()).open(chosen) as services:
        members = _members(services.mailchimp, key, limit, member)
        shown = look_at_list(services.mailchimp, key)
        fields = replace(read_list_fields(services.mailchimp, key), has_permissions=shown is not None)
        rules = replace(rules, has_sms=bool(row and row.has_sms) or any(map(has_sms_status, members)))
        rules = replace(rules, until=services.mailchimp.probe(key, "listed", None, 1).at_most)
        events = _count_events(services.mailchimp, rules, row)
    limit = chosen.ometria.welcome_limit
    permissions = shown.by(rules) if shown else None
    convert = make_converter(fields, rules)
    pairs = [(found, convert(found)) for found in members]
    (_write_json if json else _write)(pairs, fields, rules, (events, limit), permissions)


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
    from mcimport.convert import lacks_tags  # noqa: PLC0415 - loads the tables of countries and numbers

    with suppress(ServiceError):
        return mailchimp.with_all_tags(list_key, member) if lacks_tags(member) else member
    return member


def _find_list_row(settings: Settings, client: Client, list_key: str) -> ListRow | None:
    """Returns the list's row for its present destination; None before its first sync there."""
    from mcimport.cli import read_state  # noqa: PLC0415 - loads SQLite and rich
    from mcimport.state import destinations, open_state  # noqa: PLC0415 - as above

    if not settings.db_path.exists():
        return None
    with open_state(settings.db_path, create=False) as state:
        place = read_state.destination(client, list_key, state)
        if place is None:
            return None
        return destinations.current(state, place) or destinations.of_renamed_client(state, place)


def _count_events(mailchimp: MailchimpClient, rules: ContactRules, row: ListRow | None) -> int:
    """Returns how many opt-ins the next sync would send as new ones, each a subscription event."""
    from mcimport.engine.page.subscription_events import event_filters  # noqa: PLC0415 - loads the tables of countries and numbers
    from mcimport.models import OptedIn  # noqa: PLC0415 - of use here alone
    from mcimport.services.mailchimp.windows import OVERLAP, optins_new_since  # noqa: PLC0415 - of use here alone

    point = row.sync_point if row else None
    since = None if point is None else point - OVERLAP
    filters = event_filters(rules, [OptedIn(since, opted=optins_new_since(row) if row else None)])
    return sum(mailchimp.count_opted_in(rules.list_key, opted_in) for opted_in in filters)


def _write_json(
    pairs: Pairs, fields: ListFields, rules: ContactRules, events: tuple[int, int], permissions: Permissions | None
) -> None:
    from mcimport.cli import preview_table, read_state  # noqa: PLC0415 - loads SQLite and rich
    from mcimport.cli.field_table import custom_fields, fields_table, rows  # noqa: PLC0415 - as above
    from mcimport.report.permissions import document  # noqa: PLC0415 - as above

    read_state.write_json(preview_table.document(member, conversion) for member, conversion in pairs)
    names = ("tag", "name", "type", "target")
    read_state.write_json(
        [
            {
                "list_key": rules.list_key,
                "collection": rules.collection,
                "fields": [dict(zip(names, row, strict=True)) for row in rows(fields, rules)],
                "interests": list(fields.interests.values()),
                "marketing_permissions": document(permissions) if permissions else None,
                "subscription_events": events[0] if events[0] <= events[1] else 0,
                "custom_fields": [{"id": field.id, "type": field.type} for field in custom_fields(fields, rules)],
                "fields_table": fields_table(fields, rules),
            }
        ]
    )


def _write(
    pairs: Pairs, fields: ListFields, rules: ContactRules, events: tuple[int, int], permissions: Permissions | None
) -> None:
    from mcimport.cli import preview_table, read_state  # noqa: PLC0415 - loads SQLite and rich
    from mcimport.report.format import out_of  # noqa: PLC0415 - as above
    from mcimport.report.permissions import permissions_text  # noqa: PLC0415 - as above

    say = sys.stdout.write
    width = read_state.output_width()
    for number, (member, conversion) in enumerate(pairs, 1):
        say(f"Member {out_of(number, len(pairs))}\n\n")
        read_state.write_table(preview_table.HEADS, preview_table.rows(member, conversion, fields, width))
        say("".join(f"  {remark}\n" for remark in preview_table.remarks(conversion)) + "\n")
    if not pairs:
        say("The list has no members.\n\n")
    _write_fields(fields, rules)
    if permissions:
        say(f"The list has {permissions_text(permissions)}.\n")
    caused = _events_text(*events)
    say(f"Subscription events that the next sync would cause (each can start a welcome campaign): {caused}\n")
    say(f"{OPT_OUT_WARNING}\nNothing was pushed.\n")


def _write_fields(fields: ListFields, rules: ContactRules) -> None:
    from mcimport.cli import field_table as of_list  # noqa: PLC0415 - loads the tables of countries and numbers
    from mcimport.cli import read_state  # noqa: PLC0415 - loads SQLite and rich

    say = sys.stdout.write
    say(f"Merge fields of list {rules.list_key}, and where they go in collection {rules.collection}\n\n")
    read_state.write_table(of_list.HEADS, of_list.rows(fields, rules))
    if fields.interests:
        say(f"\nInterests, whose names go to properties.mailchimp_interests\n\n{of_list.interests(fields)}\n")
    say("\nCustom fields to create in Ometria first (their type cannot be changed later; at most 100 of each type)\n\n")
    custom = of_list.custom_fields(fields, rules)
    read_state.write_table(of_list.CUSTOM_HEADS, custom)
    say("".join(f"warning: {words}\n" for words in of_list.too_many(custom)))
    table = of_list.fields_table(fields, rules)
    say(f"\nTo change any of this, edit this table and put it in place of [fields] in mcimport.toml\n\n{table}\n")


def _events_text(events: int, limit: int) -> str:
    return f"{events:,}" if events <= limit else f"0, because {events:,} would exceed the welcome_limit of {limit:,}"
