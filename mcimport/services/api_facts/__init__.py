"""The facts about both APIs that the importer assumes: one table each, and nothing else about them."""

from __future__ import annotations

from collections.abc import Mapping

from mcimport.services.api_facts.fact import ApiFact
from mcimport.services.api_facts.mailchimp import MAILCHIMP
from mcimport.services.api_facts.ometria import OMETRIA

FACTS: Mapping[str, ApiFact] = {fact.id: fact for fact in (*MAILCHIMP, *OMETRIA)}
"""By id, in the order in which they are shown."""
