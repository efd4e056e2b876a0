"""The tables of mcimport.toml, with the limits of every setting.

The description of a setting is what users read when its value is refused ("must be …"), so it is beside the limits.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationInfo

from mcimport.config import variables
from mcimport.config.addresses import ADDRESS_PATTERN, EngineKind, base_address, require_https
from mcimport.config.patterns import COLLECTION, PERMISSION, text_like
from mcimport.models import CONTACT_FIELDS, SubscriptionEvents, WithoutPermission

MOST_CONNECTIONS = 10  # simultaneous ones that Mailchimp allows an account, by its documentation
MOST_MEMBERS = 1000  # the largest page that Mailchimp gives
MOST_RECORDS = 100  # the largest push that Ometria takes

CLIENT_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"  # it becomes part of a lock file's name
LIST_KEY = re.compile(r"[A-Za-z0-9]{1,40}")

TARGET_WORDS = (
    f'a contact field ({", ".join(CONTACT_FIELDS)}), "properties.name" in a-z, 0-9 and _, or "" to leave it out'
)
# mcimport itself fills the custom fields that begin with `mailchimp_`; a second source would overwrite them in turns.
_TARGET = re.compile(rf"(?:{'|'.join(CONTACT_FIELDS)}|properties\.(?!mailchimp_)[a-z0-9_]+)?")

# Ometria sends a text message to every contact that is pushed into one of these.
_TEXTING = frozenset({"optin:sms", "double_optin:sms"})
TEXTING_WORDS = "optin:sms and double_optin:sms send a text message to every contact that is pushed"
CONSENT_STATUSES = ("cleaned", "archived", "pending", "transactional")  # the others can't be changed
_SHARE = re.compile(r"(?:100|[0-9]{1,2}(?:\.[0-9]{1,4})?)%", re.ASCII)
_PLACEHOLDER = re.compile(r"\{(list_key|client)\}")


def sends_texts(collection: str) -> bool:
    """Returns whether Ometria texts every contact that is pushed into the collection, whatever its blanks and case."""
    return "".join(collection.split()).casefold() in _TEXTING


def expand(collection: str, *, client: str, list_key: str) -> str:
    """Fills in the placeholders, in one pass, so that no value is read as a placeholder itself."""
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
    """Refuses list ids that differ only in case: a contact's id, which begins with the list's, is in lower case."""
    if len({key.lower() for key in lists}) < len(lists):
        raise ValueError("names a list twice")
    return lists


def _list_key(value: str) -> str:
    if not LIST_KEY.fullmatch(value):
        raise ValueError("must be a list id (letters and digits only), like 1a2d7ebf82")
    return value


def _url(value: str, table: ValidationInfo) -> str:
    url = base_address(value)
    require_https(url, allow_http=table.data.get("allow_http", False))
    return url


def _whole(low: int, high: int) -> Any:
    return Field(ge=low, le=high, description=f"a whole number from {low} to {high}")


def _number_above_0(most: int) -> Any:
    return Field(gt=0, le=most, allow_inf_nan=False, description=f"a number above 0, at most {most}")


Url = Annotated[
    Annotated[str, AfterValidator(_url), text_like(ADDRESS_PATTERN)] | None, Field(description="an address in quotes")
]
Account = Annotated[
    Annotated[str, Field(min_length=1)] | None,
    Field(description="a name in quotes, the same for keys of the same account"),
]
KeySetting = Annotated[SecretStr, Field(description='"env:NAME", "file:PATH" or the key itself, in quotes')]
Target = Annotated[str, AfterValidator(_target), text_like(_TARGET.pattern)]
ConsentValue = Annotated[
    Literal["out", "unspecified", "keep"] | None, Field(description='"out", "unspecified" or "keep"')
]


_DURATION = re.compile(r"([1-9][0-9]{0,5})(m|h|d)")
_DURATION_SECONDS = {"m": 60, "h": 3_600, "d": 86_400}


def _duration(value: Any) -> int:
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError('must be a number of minutes, hours or days in quotes, like "90m", "3h" or "90d"')
    return int(found[1]) * _DURATION_SECONDS[found[2]]


def duration_text(seconds: int) -> str:
    """Returns a duration as the file writes it, in the largest unit that fits: `90d`."""
    unit = next(unit for unit in "dhm" if seconds % _DURATION_SECONDS[unit] == 0)
    return f"{seconds // _DURATION_SECONDS[unit]}{unit}"


Duration = Annotated[int, BeforeValidator(_duration), text_like(_DURATION.pattern)]
Flag = Annotated[bool, Field(description="true or false")]
Wait = Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False, description="a number from 0 to 3600")]
UrlSetting = Annotated[SecretStr | None, Field(description='"env:NAME", "file:PATH" or an https address, in quotes')]


class Table(BaseModel):
    """Configures pydantic for all tables.

    `strict`: "10" and true are no numbers. `hide_input_in_errors`: pydantic's own message would show a key.
    `defer_build`: validators are built for the whole configuration, when one is read, and not for each table on import.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True, defer_build=True)


class ServiceTable(Table):
    """Holds the settings of both services. `url` has no slash at its end and includes the API's version."""

    account: Account = None
    allow_http: Flag = False  # before `url`, whose validator reads it
    url: Url = None


class MailchimpSettings(ServiceTable):
    """Holds how a Mailchimp account is read; `timeout` in seconds."""

    connections: Annotated[int, _whole(1, MOST_CONNECTIONS)] = MOST_CONNECTIONS
    window: Annotated[int, _whole(1, MOST_MEMBERS)] = MOST_MEMBERS
    # Mailchimp itself gives up after 120 s, and counts the connection as open until then.
    timeout: Annotated[float, _number_above_0(600)] = 120


class OmetriaSettings(ServiceTable):
    """Holds how an Ometria account is written; `timeout` in seconds, `collection` with its placeholders."""

    requests_per_second: Annotated[float, _number_above_0(1000)] = 8
    reads_per_second: Annotated[float, _number_above_0(1000)] = 4
    batch: Annotated[int, _whole(1, MOST_RECORDS)] = MOST_RECORDS
    timeout: Annotated[float, _number_above_0(600)] = 60
    collection: Annotated[
        str, AfterValidator(_collection), text_like(COLLECTION), Field(description="a name in quotes")
    ] = "mailchimp"
    subscription_events: Annotated[SubscriptionEvents, Field(description='"new", "all" or "none"')] = "new"
    welcome_limit: Annotated[int, Field(ge=0, description="a whole number, 0 or more")] = 1000
    force_optin: Flag = False
    spot_check: Annotated[int, _whole(0, 100)] = 10


class Retry(Table):
    """Holds how often failed requests are retried; `wait` in seconds."""

    retries: Annotated[int, _whole(0, 20)] = 3
    wait: Wait = 5


PERMISSION_WORDS = 'the name of a marketing permission in quotes, "" for none, or a list of names in brackets'


def _permission(value: Any) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"must be {PERMISSION_WORDS}")
    return tuple(name for name in names if name.strip())


class Consent(Table):
    """Holds the consent of the statuses for which it may be chosen.

    `subscribed` and `unsubscribed` are no settings: that would invent a consent. `permission`: on a list with marketing
    permissions, members without one of these are not opted in.
    """

    cleaned: ConsentValue = None
    archived: ConsentValue = None
    pending: ConsentValue = None
    transactional: ConsentValue = None
    permission: Annotated[
        tuple[str, ...], BeforeValidator(_permission), PERMISSION, Field(description=PERMISSION_WORDS)
    ] = ("Email",)
    without_permission: Annotated[WithoutPermission, Field(description='"out" or "unspecified"')] = "unspecified"

    @property
    def statuses(self) -> dict[str, str]:
        found: dict[str, str] = self.model_dump(exclude_none=True, include=set(CONSENT_STATUSES))
        return found


class Notify(Table):
    """Holds the addresses to notify, which are secrets: anyone who has one can send notifications in our name.

    `overdue` in seconds; None: after three missed rounds.
    """

    overdue: Duration | None = None
    allow_http: Flag = False
    healthcheck_url: UrlSetting = None
    webhook_url: UrlSetting = None


class Metrics(Table):
    """Holds where Prometheus text is written; None: nowhere."""

    textfile: Annotated[Annotated[str, Field(min_length=1)] | None, Field(description="a path in quotes")] = None


class StateFile(Table):
    """Holds for how many seconds the log of runs is kept."""

    keep: Duration = 90 * 86_400


class Engine(Table):
    """Holds which engine processes windows. `broker` is a secret: the address holds a password.

    `allow_plain`: the password may be sent unencrypted to another machine.
    """

    kind: Annotated[EngineKind, Field(description='"threads" or "celery"')] = "threads"
    broker: Annotated[
        SecretStr, Field(description='"env:NAME", "file:PATH" or an amqp:// or amqps:// address, in quotes')
    ] = SecretStr(f"env:{variables.BROKER}")
    allow_plain: Flag = False


class Reconcile(Table):
    """Holds how both sides are compared. `most`: a share of the list; `settling` in seconds."""

    # Where so many contacts would change consent at once, a wrong list, an emptied one or a wrong key is likelier.
    most: Annotated[
        str,
        AfterValidator(_share),
        text_like(_SHARE.pattern),
        Field(description='a share of the list in quotes, like "5%"'),
    ] = "5%"
    # Ometria validates contacts some time after a push; before that they cannot be read back.
    settling: Wait = 60

    @property
    def most_gone(self) -> float:
        """The share as a number from 0 to 1."""
        return float(self.most.removesuffix("%")) / 100


class Shared(Table):
    """Holds the tables that apply to all clients, or to one under its name."""

    mailchimp: MailchimpSettings = MailchimpSettings()
    ometria: OmetriaSettings = OmetriaSettings()
    retry: Retry = Retry()
    consent: Consent = Consent()
    notify: Notify = Notify()
    reconcile: Reconcile = Reconcile()
    fields: dict[str, Target] = {}


class ClientTable(Shared):
    """Holds `[clients.NAME]`; of its tables, only the settings that were written override the shared ones."""

    lists: Annotated[
        list[Annotated[str, AfterValidator(_list_key), text_like(LIST_KEY.pattern)]],
        AfterValidator(_distinct),
        Field(
            min_length=1,
            json_schema_extra={"uniqueItems": True},
            description='one list id or more, in brackets and quotes: ["1a2d7ebf82"]',
        ),
    ]
    mailchimp_api_key: KeySetting
    ometria_api_key: KeySetting


class File(Shared):
    """Holds the whole of mcimport.toml."""

    metrics: Metrics = Metrics()
    state: StateFile = StateFile()
    engine: Engine = Engine()
    clients: Annotated[
        dict[Annotated[str, Field(pattern=CLIENT_NAME)], ClientTable],
        Field(description="tables, one for each client: [clients.acme]"),
    ] = {}
