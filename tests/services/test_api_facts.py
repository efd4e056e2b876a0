"""The table of facts about both APIs: whole, and named where the importer relies on it."""

from __future__ import annotations

import readme
from monitoring.probe.differences import HARMLESS, SAID

from mcimport.monitoring.probe.ometria_facts import READ, WRITTEN
from mcimport.monitoring.probe.probe import MAILCHIMP
from mcimport.services.api_facts import FACTS

NOT_RELIED_ON = {"ometria-address", "ometria-ended"}
OF_ALL_ANSWERS = {"mailchimp-clock", "mailchimp-members", "mailchimp-wrong-key", "mailchimp-connections"}


def test_each_fact_is_asked_and_each_question_is_a_fact() -> None:
    """The probe and the table know the same."""
    assert {*MAILCHIMP, *OF_ALL_ANSWERS, *READ, *WRITTEN} == set(FACTS)
    assert {name for name, fact in FACTS.items() if fact.needs_write} == set(WRITTEN) - set(READ)
    assert all(fact.id.startswith(fact.service.lower()) for fact in FACTS.values())


def test_modules_name_the_facts_that_they_rely_on_and_no_others() -> None:
    """Every fact that a module names is in the table; every fact of the table is relied on somewhere."""
    assert set(readme.modules_by_fact()) == set(FACTS) - NOT_RELIED_ON


def test_each_fact_has_a_way_in_which_the_sandbox_differs() -> None:
    """But for those that are about one member, one key, or the probe itself, which have tests of their own."""
    tried = {fact for _, fact in HARMLESS} | {fact for _, fact, _ in SAID}
    elsewhere = {"mailchimp-members", "mailchimp-connections", "ometria-key", "ometria-settling", "ometria-ended"}
    assert set(FACTS) - tried == elsewhere | {"ometria-property"}
