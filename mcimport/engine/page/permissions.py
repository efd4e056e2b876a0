"""What subscribed members show of a list's marketing permissions, and whether a configured name is among them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from mcimport.convert import given_names, missing_names, needed, permissions_of, quoted
from mcimport.errors import ConfigError
from mcimport.models import ContactRules
from mcimport.models.results import Permissions
from mcimport.services.mailchimp.client import MailchimpClient
from mcimport.services.mailchimp.list_fields import list_has_permissions, permissions_shown

MOST_PAGES = 10  # of 1,000 members
NAMED = 10  # texts shown


class Shown(Struct, frozen=True):
    """Holds what some subscribed members show of their permissions.

    Attributes:
        texts: the texts of all permissions, given or not.
        given: how many members have given exactly these permissions, by their names as they are compared.
        subscribed: how many members of the list are subscribed.
    """

    texts: frozenset[str]
    given: Mapping[frozenset[str], int]
    subscribed: int

    def by(self, rules: ContactRules) -> Permissions:
        """Counts the members whom the rules do not opt in. Raises ConfigError for a name that no permission has."""
        check_names(rules, self.texts)
        names = needed(rules.permission)
        return Permissions(
            texts=tuple(sorted(self.texts)),
            names=quoted(rules.permission),
            lacking=sum(members for given, members in self.given.items() if not names <= given),
            looked_at=sum(self.given.values()),
            subscribed=self.subscribed,
        )


def look_at_members(mailchimp: MailchimpClient, list_key: str, pages: int) -> Shown:
    """Reads the subscribed members who changed last, in pages of 1,000. Raises what Mailchimp raises."""
    texts: set[str] = set()
    given: Counter[frozenset[str]] = Counter()
    subscribed = 0
    for _ in range(pages):
        page, subscribed = permissions_shown(mailchimp, list_key, sum(given.values()))
        for value in page:
            permissions = permissions_of(value)
            texts.update(permissions)
            given[given_names(permissions)] += 1
        if not page or sum(given.values()) >= subscribed:
            break
    return Shown(frozenset(texts), given, subscribed)


def look_at_list(mailchimp: MailchimpClient, list_key: str) -> Shown | None:
    """Returns what members of the list show; None for a list without permissions.

    That costs one small request where the list itself says so. Raises what Mailchimp raises.
    """
    has_some = list_has_permissions(mailchimp, list_key)
    if has_some is False:
        return None
    shown = look_at_members(mailchimp, list_key, MOST_PAGES)
    return shown if shown.texts or has_some else None


def check_names(rules: ContactRules, texts: Iterable[str]) -> None:
    """Raises ConfigError for a configured name that no permission of the list has; not where the list has none."""
    known = sorted(texts)
    if not known or not (wrong := missing_names(rules.permission, known)):
        return
    raise ConfigError(
        f"list {rules.list_key} has no marketing permission {quoted(wrong)}; it has {_named(known)}",
        hint="Under [consent] in mcimport.toml, name the permission that members need to be opted in, such as"
        f' permission = {json.dumps(known[0], ensure_ascii=False)}, or write permission = "" if they need none.',
    )


def _named(texts: Sequence[str]) -> str:
    more = len(texts) - NAMED
    named = ", ".join(f"“{text}”" for text in texts[:NAMED])
    return f"{named} and {more:,} more" if more > 0 else named
