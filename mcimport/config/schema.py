"""The tables of mcimport.toml, and the limits of every setting.

The description of a setting is what a person reads when its value is refused ("must be …"), so it stands
beside the limits that it tells.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
)

from mcimport.config.addresses import base_address, require_https
from mcimport.models import SubscriptionEvents, WithoutPermission

MOST_CONNECTIONS = 10  # simultaneous ones that Mailchimp allows an account, by its documentation
MOST_MEMBERS = 1000  # the largest page that Mailchimp gives
MOST_RECORDS = 100  # the largest push that Ometria takes

CLIENT_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"  # it becomes part of a lock file's name
LIST_KEY = re.compile(r"[A-Za-z0-9]{1,40}")

CONTACT_FIELDS = (
    "firstname",
    "lastname",
    "middlename",
    "prefix",
    "gender",
    "date_of_birth",
    "phone_number",
    "country_id",
    "timezone",
    "customer_id",
)
TARGET_WORDS = (
    f'a contact field ({", ".join(CONTACT_FIELDS)}), "properties.name" in a-z, 0-9 and _, or "" to leave it out'
)
# `mailchimp_` begins the custom fields that the importer fills itself: two sources for one field would take turns.
_TARGET = re.compile(rf"(?:{'|'.join(CONTACT_FIELDS)}|properties\.(?!mailchimp_)[a-z0-9_]+)?")

# Ometria sends a text message to everybody who is pushed into one of these.
_TEXTING = frozenset({"optin:sms", "double_optin:sms"})
TEXTING_WORDS = "optin:sms and double_optin:sms send a text message to every contact that is pushed"
CONSENT_STATUSES = ("cleaned", "archived", "pending", "transactional")  # the others can't be changed
_SHARE = re.compile(r"(?:100|[0-9]{1,2}(?:\.[0-9]{1,4})?)%", re.ASCII)
_PLACEHOLDER = re.compile(r"\{(list_key|client)\}")


def sends_texts(collection: str) -> bool:
    """Ometria has collections that do something to whom is pushed into them; blanks and capitals do not hide one."""
    return "".join(collection.split()).casefold() in _TEXTING


def expand(collection: str, *, client: str, list_key: str) -> str:
    """One pass, so that what is filled in is never read as a placeholder itself."""
    return _PLACEHOLDER.sub(lambda found: client if found[1] == "client" else list_key, collection)


def _collection(value: str) -> str:
    if sends_texts(value):
        raise ValueError(f"must be a different one: {TEXTING_WORDS}")
    if set(_PLACEHOLDER.sub("", value)) & {"{", "}"}:
        raise ValueError("may contain {list_key} and {client}, but no other braces")
    if not value or value != value.strip() or not value.isprintable():
        raise ValueError("must be a name on one line, without spaces at either end")
    return value


def _target(value: str) -> str:
    if not _TARGET.fullmatch(value):
        own = " (properties.mailchimp_… are reserved for mcimport)" if value.startswith("properties.mailchimp_") else ""
        raise ValueError(f"must be {TARGET_WORDS}{own}")
    return value


def _share(value: str) -> str:
    if not _SHARE.fullmatch(value):
        raise ValueError('must be a share of the list in quotes, from "0%" to "100%"')
    return value


def _distinct(lists: list[str]) -> list[str]:
    """Capitals count for nothing here: a contact's id, which begins with the list, is in lower case."""
    if len({key.lower() for key in lists}) < len(lists):
        raise ValueError("names a list twice")
    return lists


def _list_key(value: str) -> str:
    if not LIST_KEY.fullmatch(value):
        raise ValueError("must be a list id (letters and digits only), like 1a2d7ebf82")
    return value


def _whole(low: int, high: int) -> Any:
    return Field(ge=low, le=high, description=f"a whole number from {low} to {high}")


def _number_above_0(most: int) -> Any:
    return Field(gt=0, le=most, allow_inf_nan=False, description=f"a number above 0, at most {most}")


Url = Annotated[Annotated[str, AfterValidator(base_address)] | None, Field(description="an address in quotes")]
Account = Annotated[
    Annotated[str, Field(min_length=1)] | None,
    Field(description="a name in quotes, the same for keys of the same account"),
]
KeySetting = Annotated[SecretStr, Field(description='"env:NAME", "file:PATH" or the key itself, in quotes')]
Target = Annotated[str, AfterValidator(_target)]
Milder = Annotated[Literal["out", "unspecified", "keep"] | None, Field(description='"out", "unspecified" or "keep"')]


_DURATION = re.compile(r"([1-9][0-9]{0,5})(m|h|d)")
_DURATION_SECONDS = {"m": 60, "h": 3_600, "d": 86_400}


def _duration(value: str) -> str:
    if not _DURATION.fullmatch(value):
        raise ValueError('must be a number of minutes, hours or days in quotes, like "90m", "3h" or "90d"')
    return value


def seconds(duration: str) -> int:
    """Of a setting that is a duration."""
    found = _DURATION.fullmatch(duration)
    assert found is not None  # noqa: S101 - the schema has checked it
    return int(found[1]) * _DURATION_SECONDS[found[2]]


Duration = Annotated[str, AfterValidator(_duration), Field(description='a duration in quotes, like "3h"')]
AllowHttp = Annotated[bool, Field(description="true or false")]
UrlSetting = Annotated[SecretStr | None, Field(description='"env:NAME", "file:PATH" or an https address, in quotes')]


class Table(BaseModel):
    """`strict`: "10" and true are no numbers. `hide_input_in_errors`: pydantic's own words would show a key.

    `defer_build`: only the whole configuration is built, when one is read, and not each table of it on import.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True, defer_build=True)


class ServiceTable(Table):
    """What can be set about each of the two services. `url` ends before any slash and includes the API's version."""

    account: Account = None
    allow_http: AllowHttp = False  # before the address that it is about
    url: Url = None

    @field_validator("url")
    @classmethod
    def _requires_https(cls, url: str | None, table: ValidationInfo) -> str | None:
        require_https(url, allow_http=table.data.get("allow_http", False))
        return url


class MailchimpSettings(ServiceTable):
    """How one account is read; `timeout` in seconds."""

    connections: Annotated[int, _whole(1, MOST_CONNECTIONS)] = MOST_CONNECTIONS
    window: Annotated[int, _whole(1, MOST_MEMBERS)] = MOST_MEMBERS
    # Mailchimp itself gives up after 120 s, and counts the connection as open until then.
    timeout: Annotated[float, _number_above_0(600)] = 120


class OmetriaSettings(ServiceTable):
    """How one account is written to. `collection` is a template: `Client.rules` fills it in."""

    requests_per_second: Annotated[float, _number_above_0(1000)] = 8
    reads_per_second: Annotated[float, _number_above_0(1000)] = 4
    batch: Annotated[int, _whole(1, MOST_RECORDS)] = MOST_RECORDS
    timeout: Annotated[float, _number_above_0(600)] = 60
    collection: Annotated[str, AfterValidator(_collection), Field(description="a name in quotes")] = "mailchimp"
    subscription_events: Annotated[SubscriptionEvents, Field(description='"new", "all" or "none"')] = "new"
    welcome_limit: Annotated[int, Field(ge=0, description="a whole number, 0 or more")] = 1000
    force_optin: Annotated[bool, Field(description="true or false")] = False
    spot_check: Annotated[int, _whole(0, 100)] = 10


class Retry(Table):
    """`wait` in seconds."""

    retries: Annotated[int, _whole(0, 20)] = 3
    wait: Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False, description="a number from 0 to 3600")] = 5


PERMISSION_WORDS = 'the name of a marketing permission in quotes, "" for none, or a list of names in brackets'


def _permission(value: Any) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"must be {PERMISSION_WORDS}")
    return tuple(name for name in names if name.strip())


class Consent(Table):
    """Statuses whose consent may be set. Those of who said yes or no are no settings: that would invent a consent.

    `permission`: without this marketing permission nobody is opted in, where a list has such permissions.
    """

    cleaned: Milder = None
    archived: Milder = None
    pending: Milder = None
    transactional: Milder = None
    permission: Annotated[tuple[str, ...], BeforeValidator(_permission), Field(description=PERMISSION_WORDS)] = (
        "Email",
    )
    without_permission: Annotated[WithoutPermission, Field(description='"out" or "unspecified"')] = "unspecified"

    @property
    def statuses(self) -> dict[str, str]:
        """Only those that were configured."""
        found: dict[str, str] = self.model_dump(exclude_none=True, include=set(CONSENT_STATUSES))
        return found


class Notify(Table):
    """Who is told how it went. The addresses are secrets: whoever knows one can speak for us."""

    overdue: Duration = "3h"
    allow_http: AllowHttp = False
    healthcheck_url: UrlSetting = None
    webhook_url: UrlSetting = None


class Metrics(Table):
    """Where Prometheus text is written, if anywhere."""

    textfile: Annotated[Annotated[str, Field(min_length=1)] | None, Field(description="a path in quotes")] = None


class StateFile(Table):
    """How long the log of runs is kept."""

    keep: Duration = "90d"


class Engine(Table):
    """Where windows are worked off. `broker` is a secret: the address holds a password.

    `allow_plain`: it may be sent in the open, to another machine.
    """

    kind: Annotated[Literal["threads", "celery"], Field(description='"threads" or "celery"')] = "threads"
    broker: Annotated[
        SecretStr, Field(description='"env:NAME", "file:PATH" or an amqp:// or amqps:// address, in quotes')
    ] = SecretStr("env:MCIMPORT_BROKER")
    allow_plain: Annotated[bool, Field(description="true or false")] = False


class Reconcile(Table):
    """How both sides are compared. `most`: the share of a list; `settling` in seconds."""

    # Likelier than so many people who change consent at once are a wrong list, an emptied one, or a wrong key.
    most: Annotated[str, AfterValidator(_share), Field(description='a share of the list in quotes, like "5%"')] = "5%"
    # What was pushed is validated later: so long after the last push Ometria is not asked what it has come to.
    settling: Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False, description="a number from 0 to 3600")] = 60

    @property
    def most_gone(self) -> float:
        """As a number from 0 to 1."""
        return float(self.most.removesuffix("%")) / 100


class Shared(Table):
    """The tables that stand for all clients, or for one under its name."""

    mailchimp: MailchimpSettings = MailchimpSettings()
    ometria: OmetriaSettings = OmetriaSettings()
    retry: Retry = Retry()
    consent: Consent = Consent()
    notify: Notify = Notify()
    reconcile: Reconcile = Reconcile()
    fields: dict[str, Target] = {}


class ClientTable(Shared):
    """`[clients.NAME]`: its own settings, and tables of which only what was written counts."""

    lists: Annotated[
        list[Annotated[str, AfterValidator(_list_key)]],
        AfterValidator(_distinct),
        Field(min_length=1, description='one list id or more, in brackets and quotes: ["1a2d7ebf82"]'),
    ]
    mailchimp_api_key: KeySetting
    ometria_api_key: KeySetting


class File(Shared):
    """The whole of mcimport.toml."""

    metrics: Metrics = Metrics()
    state: StateFile = StateFile()
    engine: Engine = Engine()
    clients: Annotated[
        dict[Annotated[str, Field(pattern=CLIENT_NAME)], ClientTable],
        Field(description="tables, one for each client: [clients.acme]"),
    ] = {}
