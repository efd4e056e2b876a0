"""The JSON Schema of mcimport.toml: made from the models, and of one mind with them."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from urllib.parse import unquote, urlsplit

import config_schema
import jsonschema_rs
import pytest
from readme import pages

from mcimport.config import template
from mcimport.config.messages import validate
from mcimport.config.schema import File
from mcimport.config.template import EXAMPLE, SCHEMA

VALIDATOR = jsonschema_rs.validator_for(json.loads(SCHEMA.read_text(encoding="utf-8")))

GOOD = [
    "",
    "mailchimp = { connections = 10, window = 1, timeout = 0.5, account = 'a' }",
    "mailchimp.url = 'https://us6.api.mailchimp.com/3.0'",
    "ometria.url = 'HTTP://[::1]:8025/v2'",
    "ometria = { batch = 100, collection = 'mail {list_key} of {client}', subscription_events = 'all' }",
    "ometria.collection = '{list_key}'",
    "ometria = { welcome_limit = 0, spot_check = 0, force_optin = true }",
    "retry = { retries = 0, wait = 0.0 }",
    "consent = { cleaned = 'keep', permission = ['Email', 'Post'], without_permission = 'out' }",
    "consent.permission = ''",
    "notify = { overdue = '90m', healthcheck_url = 'env:H', webhook_url = 'https://example.com/x' }",
    "metrics.textfile = '/tmp/x.prom'",
    "state.keep = '999999d'",
    "engine = { kind = 'celery', broker = 'file:b', allow_plain = true }",
    "reconcile = { most = '0.5%', settling = 3600 }",
    "fields = { FNAME = 'firstname', A = '', 'x y' = 'properties.a_1' }",
    "clients.'a.b-c_D'= { lists = ['A', 'b'], mailchimp_api_key = '', ometria_api_key = 'k', retry.retries = 1 }",
]
BAD = [
    "window = 5",
    "mailchimp.windows = 5",
    "mailchimp.window = 0",
    "mailchimp.window = 1001",
    "mailchimp.window = '5'",
    "mailchimp.window = true",
    "mailchimp.connections = 1.5",
    "mailchimp.timeout = 0",
    "mailchimp.timeout = 601",
    "mailchimp.account = ''",
    "mailchimp.url = 'ftp://example.com'",
    "mailchimp.url = 'https://user:pw@example.com'",
    "ometria.url = 'https://example.com/?q=1'",
    "ometria.collection = ''",
    "ometria.collection = ' a'",
    "ometria.collection = 'a '",
    "ometria.collection = 'a{b}'",
    'ometria.collection = "a\\nb"',
    "ometria.collection = 'Optin: SMS'",
    "ometria.collection = 'double_optin:sms'",
    "ometria.subscription_events = 'some'",
    "ometria.welcome_limit = -1",
    "ometria.force_optin = 1",
    "retry.wait = 3601",
    "retry = 5",
    "consent.subscribed = 'out'",
    "consent.cleaned = 'in'",
    "consent.permission = 5",
    "consent.permission = [5]",
    "notify.overdue = 5",
    "notify.overdue = '3 h'",
    "notify.overdue = '0h'",
    "notify.webhook_url = 5",
    "metrics.textfile = ''",
    "state.keep = '1000000d'",
    "engine.kind = 'rabbit'",
    "reconcile.most = '101%'",
    "reconcile.most = 5",
    "fields.A = 'email'",
    "fields.A = 'properties.mailchimp_tags'",
    "fields.A = 5",
    "clients = 5",
    "clients.'a b' = { lists = ['A'], mailchimp_api_key = 'a', ometria_api_key = 'b' }",
    "clients.a = { lists = ['A'], mailchimp_api_key = 'a' }",
    "clients.a = { lists = [], mailchimp_api_key = 'a', ometria_api_key = 'b' }",
    "clients.a = { lists = ['A', 'A'], mailchimp_api_key = 'a', ometria_api_key = 'b' }",
    "clients.a = { lists = ['a@b'], mailchimp_api_key = 'a', ometria_api_key = 'b' }",
    "clients.a = { lists = ['A'], mailchimp_api_key = 5, ometria_api_key = 'b' }",
    "clients.a = { lists = ['A'], mailchimp_api_key = 'a', ometria_api_key = 'b', state.keep = '1d' }",
]


def test_the_schema_is_what_the_models_make() -> None:
    """Whoever changes a setting writes the schema anew: `make readme`."""
    assert json.loads(SCHEMA.read_text(encoding="utf-8")) == config_schema.document()


@pytest.mark.parametrize("text", [*GOOD, *BAD])
def test_the_schema_and_the_loader_agree(text: str) -> None:
    """Every kind of setting at its limits, and past them."""
    document = tomllib.loads(text)
    is_good = text in GOOD
    assert (isinstance(validate(document), File), VALIDATOR.is_valid(document)) == (is_good, is_good)


def test_each_setting_is_described_with_its_limits() -> None:
    """What an editor shows is the comment of the file that `init` writes, and what a refusal would say."""
    properties = json.loads(SCHEMA.read_text(encoding="utf-8"))["definitions"]["MailchimpSettings"]["properties"]
    window = properties["window"]
    assert window["description"] == "members per page, at most 1000. Must be a whole number from 1 to 1000."
    assert (window["minimum"], window["maximum"], window["default"]) == (1, 1000, 1000)


def test_the_file_that_init_writes_is_valid_and_leads_to_the_schema() -> None:
    """Its first line is an address of the installed file, so it needs no network."""
    text = template(EXAMPLE)
    assert VALIDATOR.is_valid(tomllib.loads(text))
    directive, address = text.splitlines()[0].split(" ", 1)
    assert directive == "#:schema"
    assert Path(unquote(urlsplit(address).path)) == SCHEMA
    assert SCHEMA.is_file()


def test_no_page_names_a_file_of_a_machine() -> None:
    """That address is made when the file is written; nothing that is committed holds one."""
    assert [page for page in pages() if "#:schema file:" in page.read_text(encoding="utf-8")] == []
