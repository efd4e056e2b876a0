"""The commented mcimport.toml that `mcimport init` writes."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

from msgspec import Struct

from mcimport.config.keys import LIKE_A_KEY, VARIABLE
from mcimport.config.messages import BARE, validate
from mcimport.errors import ConfigError

SCHEMA = Path(__file__).with_name("mcimport.schema.json")

_TEMPLATE = """\
#:schema {schema}
# mcimport.toml: what mcimport imports from Mailchimp into Ometria, and how.
# It is looked for in the current directory, then in the user's configuration directory; --config PATH or
# MCIMPORT_CONFIG name another. The values below are the defaults: deleting a line changes nothing.

[mailchimp]
connections = 10          # open at the same time; Mailchimp allows an account 10, for all its programs together
window = 1000             # members per page, at most 1000
timeout = 120             # seconds
# account = "acme"        # clients that name the same account share its connections
# url = "https://us6.api.mailchimp.com/3.0"   # for an OAuth token, a proxy or the sandbox
# allow_http = true       # allow an http address of another machine: the key then travels unencrypted

[ometria]
requests_per_second = 8   # what Ometria allows an account (older ones: 4)
reads_per_second = 4      # the same for all requests but pushes; `reconcile` reads contacts back
batch = 100               # records per push, at most 100
timeout = 60              # seconds
collection = {collection}  # one for each source of contacts; may contain {{list_key}} and {{client}}
subscription_events = "new"   # which opt-ins may start a welcome campaign: "new", "all" or "none"
welcome_limit = 1000      # a run that would start more than this starts none, and warns
spot_check = 10           # contacts per list and day that are read back from Ometria as a check; 0: none
force_optin = false       # true overrides the consent that any other source recorded for a contact
# account = "acme"        # clients that name the same account share its requests
# url = "https://proxy.example/v2"
# allow_http = true       # as above

[retry]
retries = 3
wait = 5                  # seconds

[consent]                 # what these statuses become: "out", "unspecified" or "keep" (leave as it is in Ometria)
# cleaned = "out"
# archived = "out"
# pending = "unspecified"
# transactional = "unspecified"
# permission = "Email"    # the marketing permission (GDPR field) that an opt-in needs, if a list has any; "" for none
# without_permission = "unspecified"   # what a subscribed member without it becomes

[notify]
# overdue = "3h"          # `mcimport status` exits with 3 if a sync point is older; default: three missed rounds
# healthcheck_url = "env:HEALTHCHECK_URL"   # notified of start, success and failure (healthchecks.io)
# allow_http = true       # as above, for these two addresses
# webhook_url = "env:WEBHOOK_URL"           # gets a JSON document when trouble with a list starts and ends

[metrics]
# textfile = "/var/lib/node_exporter/textfile/mcimport.prom"   # for Prometheus' node_exporter

[state]
keep = "90d"              # how long the log of runs is kept

[engine]                  # where the work is done: "threads" of this process, or "celery" workers elsewhere
kind = "threads"
# broker = "env:MCIMPORT_BROKER"            # a secret: an amqps:// address, or amqp:// on this machine
# allow_plain = true      # allow amqp:// to another machine: the password and all messages travel unencrypted

[reconcile]               # `mcimport reconcile` compares both sides
most = "5%"               # share of a list that may change consent at once; beyond it, --force-mend is needed
settling = 60             # seconds to wait after the last push before reading contacts back

[fields]                  # merge tag -> contact field; `mcimport preview LIST_KEY` shows where each goes
FNAME = "firstname"
LNAME = "lastname"
# BIRTHDATE = "date_of_birth"
# LOYALTY = "properties.loyalty_points"
# MMERGE7 = ""            # left out

# A client is one Mailchimp account and the Ometria account that its members go to; `mcimport init --add` adds one.
{client_table}
# Any table above may be overridden for one client, setting by setting:
# [clients.{client}.ometria]
# requests_per_second = 16
"""

_CLIENT = """\
[clients.{client}]
lists = [{lists}]
mailchimp_api_key = {mailchimp_key}  # env:NAME, file:PATH, or the key itself
ometria_api_key = {ometria_key}
"""


class Answers(Struct, frozen=True, kw_only=True):
    """Holds the answers to `mcimport init`. Keys are given by their place: `env:NAME` or `file:PATH`."""

    client: str = "acme"
    lists: tuple[str, ...] = ("1a2d7ebf82",)
    mailchimp_key: str = "env:ACME_MAILCHIMP_KEY"
    ometria_key: str = "env:ACME_OMETRIA_KEY"
    collection: str = "mailchimp"


EXAMPLE = Answers()


def template(answers: Answers | None = None) -> str:
    """Returns the whole file; without answers, with an example of a client in comments.

    Its first line leads editors to the JSON Schema of the installed package: an address of this machine, so that it
    works without a network, and names the settings of the version that reads the file. Raises ConfigError, which names
    the line, for answers that cannot be settings.
    """
    filled = answers or EXAMPLE
    for option, source in (("Mailchimp", filled.mailchimp_key), ("Ometria", filled.ometria_key)):
        _check_source(option, source)
    client = filled.client if BARE.fullmatch(filled.client) else _quoted(filled.client)
    client_table = _CLIENT.format(
        client=client,
        lists=", ".join(map(_quoted, filled.lists)),
        mailchimp_key=_quoted(filled.mailchimp_key),
        ometria_key=_quoted(filled.ometria_key),
    )
    text = _TEMPLATE.format(
        schema=SCHEMA.as_uri(),
        client=client,
        client_table=client_table if answers else "".join(f"# {line}\n" for line in client_table.splitlines()),
        collection=_quoted(filled.collection),
    )
    checked = validate(tomllib.loads(text))
    if isinstance(checked, list):
        raise ConfigError("\n".join(checked), hint="Nothing was written.")
    return text


def _check_source(service: str, source: str) -> None:
    """Raises ConfigError, which does not repeat it, for a key itself: it would stay in the file and in the history."""
    scheme, _, rest = source.partition(":")
    is_source = VARIABLE.fullmatch(rest) if scheme.lower() == "env" else scheme.lower() == "file" and rest.strip()
    if not is_source or LIKE_A_KEY.fullmatch(rest):
        raise ConfigError(
            f"{service} key: say where it comes from (env:NAME or file:PATH) instead of the key itself",
            hint="Nothing was written. A key that was typed is still on the screen and in the shell's history.",
        )


def _quoted(text: str) -> str:
    """Returns the text as TOML writes it: as JSON does, except for one character."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
