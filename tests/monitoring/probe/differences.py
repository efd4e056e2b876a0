"""Each way in which the two services may differ from what is assumed: a setting of the sandbox, and the fact it is."""

from __future__ import annotations

from typing import Any

IN, OUT = "EXPLICITLY_OPTEDIN", "EXPLICITLY_OPTEDOUT"

Settings = dict[str, Any]

HARMLESS: list[tuple[Settings, str | None]] = [
    ({}, None),
    ({"no_date": True}, "mailchimp-clock"),
    ({"edge_skew": 900}, "mailchimp-clock"),
    ({"edge_skew": -900}, "mailchimp-clock"),
    ({"edge_spread": 600}, "mailchimp-clock"),
    ({"unstable_order": True}, "mailchimp-ties"),
    ({"since_includes": True}, "mailchimp-since"),
    ({"before_includes": False}, "mailchimp-before"),
    ({"fractions": "refused"}, "mailchimp-fractions"),
    ({"fractions": "cut"}, "mailchimp-fractions"),
    ({"naive_times": True}, "mailchimp-times"),
    ({"archived": "listed"}, "mailchimp-archived"),
    ({"count_lies": -20}, "mailchimp-total"),
    ({"count_lies": 20}, "mailchimp-total"),
    ({"total_of_list": True}, "mailchimp-total"),
    ({"field_parts": "absent"}, "mailchimp-parts"),
    ({"field_parts": "empty"}, "mailchimp-parts"),
    ({"field_parts": "refused"}, "mailchimp-parts"),
    ({"unknown_fields_refused": True}, "mailchimp-unknown-field"),
    ({"cut_tags": True}, "mailchimp-tags"),
    ({"max_count": 60}, "mailchimp-page"),
    ({"max_page": 120}, "mailchimp-page"),
    ({"offset_latency": 2.0}, "mailchimp-offset"),
    ({"wrong_key": "404"}, "mailchimp-wrong-key"),
    ({"unknown_list": "nobody"}, "mailchimp-unknown-list"),
    ({"gzip": True}, None),
    ({"collection_ignored": True}, "ometria-filter"),
    ({"newest_first": True}, "ometria-order"),
    ({"max_contacts": 20}, "ometria-page"),
    ({"single_contacts": False}, "ometria-single"),
    ({"address_filter": "ignored"}, "ometria-address"),
    ({"unread_fields": {"marketing_optin"}}, "ometria-fields"),
    ({"unread_fields": {"firstname"}}, "ometria-fields"),
    ({"consent_words": {IN: "yes", OUT: "no"}}, "ometria-words"),
    ({"queue_headers": "none"}, "ometria-queue"),
    ({"push_errors": "object"}, "ometria-errors"),
    ({"push_errors": "absent"}, "ometria-errors"),
    ({"settling": 0.2}, None),
    ({"without_address": "refused"}, "ometria-no-address"),
    ({"without_address": "dropped"}, "ometria-no-address"),
    ({"replaces": True}, "ometria-left-out"),
    ({"unspecified_keeps": True}, "ometria-not-specified"),
    ({"other_properties": "left out"}, None),
    ({"dates_opt_ins": True}, "ometria-undated"),
]
"""A sync imports all of it, whichever way it is."""

SAID: list[tuple[Settings, str, str]] = [
    ({"sort_ignored": True}, "mailchimp-order", "Mailchimp ignored sort_field"),
    ({"archived": "unbounded"}, "mailchimp-archived", "Mailchimp ignored since_last_changed"),
    ({"max_page": 30}, "mailchimp-page", "dead letters"),
]
"""A sync says what is wrong, and a later one makes up for it when that is over."""
