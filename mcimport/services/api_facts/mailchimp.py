"""What is assumed of Mailchimp's Marketing API 3.0."""

from __future__ import annotations

from functools import partial

from mcimport.services.api_facts.fact import ApiFact

_REFERENCE = "Mailchimp's Marketing API reference"
_PROBES = "dated probes of a live account by another project (estuary/connectors, source-mailchimp-native, 2026)"
_fact = partial(ApiFact, service="Mailchimp")

MAILCHIMP: tuple[ApiFact, ...] = (
    _fact(
        id="mailchimp-clock",
        assumed="Every answer has a Date, within five minutes of this machine's clock, and no member changed after it.",
        asked="The Date of all answers is compared with this machine's clock, with each other, and with the newest "
        "member.",
        if_not="Of clocks that differ the importer believes the earlier one, so it reads some minutes again in each "
        "sync. Set this machine's clock by NTP if it is the one that is wrong.",
        why="A sync point is a moment on Mailchimp's clock. One that is too late would leave members out for good. "
        "The header is HTTP's custom; Mailchimp does not document it.",
        source="RFC 9110; no word of it in " + _REFERENCE,
    ),
    _fact(
        id="mailchimp-order",
        assumed="sort_field=last_changed sorts whole pages by that time.",
        asked="A page of up to 1,000 members is looked through.",
        if_not="A page that is out of order fails the sync with a message, and its sync point stays.",
        why="A window of time is read page by page, each from where the one before ended, so one out of order would "
        "be passed by.",
        source=_REFERENCE,
        is_needed=True,
    ),
    _fact(
        id="mailchimp-ties",
        assumed="Members who changed in the same second come in the same order twice.",
        asked="One page is read twice, and its members are compared second by second.",
        if_not="The importer believes a page only up to its last whole second, so no order among equals is relied on.",
        why="An import gives thousands of members one second, and their order decides who is on which page.",
        source="not documented",
    ),
    _fact(
        id="mailchimp-since",
        assumed="since_last_changed leaves out the second that it names.",
        asked="It is asked at a second in which a member changed.",
        if_not="The importer asks for a second more and drops what is too much, so both readings give the same.",
        why="A second that neither of two windows holds would be lost.",
        source=_PROBES,
    ),
    _fact(
        id="mailchimp-before",
        assumed="before_last_changed includes the second that it names.",
        asked="It is asked at a second in which a member changed.",
        if_not="The importer asks for a second more and drops what is too much, so both readings give the same.",
        why="A second that neither of two windows holds would be lost.",
        source=_PROBES,
    ),
    _fact(
        id="mailchimp-fractions",
        assumed="A bound with a fraction of a second is ignored, and all members are returned.",
        asked="It is asked half a second after the newest change.",
        if_not="The importer sends whole seconds only, so nothing depends on it.",
        why="A filter that is ignored returns the whole list where an hour was asked for.",
        source="reports of users, and " + _PROBES,
    ),
    _fact(
        id="mailchimp-times",
        assumed="Times are whole seconds with an offset from UTC.",
        asked="Every last_changed of the sample is looked at.",
        if_not="A time without an offset is taken for UTC, one that is no time fails its page.",
        why="Time decides which members a sync reads.",
        source=_REFERENCE,
    ),
    _fact(
        id="mailchimp-archived",
        assumed="Archived members come with status=archived alone, and bounds of time count for them.",
        asked="The unfiltered sample is searched for archived members, and the newest archived one is asked for with "
        "and without a bound.",
        if_not="Archived members on the list are opted out as they are read. Where bounds do not count, syncs fail and "
        "say so. Where Mailchimp shows none though there are some, run `mcimport reconcile` each week: it finds them.",
        why="Who is archived has to be opted out in Ometria, and a plain reading of the list never hears of them.",
        source=_PROBES + "; MailChimp.Net issue 529",
        is_needed=True,
    ),
    _fact(
        id="mailchimp-total",
        assumed="total_items is the number of members whom the filter leaves, and a walk delivers as many.",
        asked="A span of time with about 200 members is counted, and walked through.",
        if_not="A run that read less than was counted says so, and reads again; a full sync makes sure.",
        why="A run looks at its end whether as many members were read as there are.",
        source=_REFERENCE,
    ),
    _fact(
        id="mailchimp-parts",
        assumed="A dotted name in fields selects a part of a part (members.location.country_code).",
        asked="It is asked for of twenty members.",
        if_not="The importer notices and asks for whole fields instead, which makes pages larger.",
        why="Pages are smaller without what is not used.",
        source=_REFERENCE,
    ),
    _fact(
        id="mailchimp-unknown-field",
        assumed="A name in fields that does not exist is ignored.",
        asked="One is asked for that no member has.",
        if_not="The importer asks for documented names only, so nothing depends on it.",
        why="Old accounts may lack a field that newer ones have.",
        source="not documented",
    ),
    _fact(
        id="mailchimp-page",
        assumed="A page holds 1,000 members where as many are asked for and there.",
        asked="Pages of 1,000 are asked for, and measured.",
        if_not="A page that is too slow is halved, and one that is cut short is continued where it ends. Set `window` "
        "in [mailchimp] to a size that works, and each sync saves these tries.",
        why="A list of a million members is a thousand pages, of which ten are open at once.",
        source=_REFERENCE,
    ),
    _fact(
        id="mailchimp-offset",
        assumed="A page far into the list takes about as long as the first.",
        asked="One member at the beginning and one at the end are asked for.",
        if_not="The importer reads by time, and uses offsets only to cut a list and within one second.",
        why="Offsets that are slow would make the beginning of a full sync slow.",
        source="Mailchimp's advice that large offsets can be slow",
    ),
    _fact(
        id="mailchimp-tags",
        assumed="A member lists fifty tags at most, and all can be asked for.",
        asked="All tags of a member are asked for who has more than are listed.",
        if_not="Such members are sent with the tags that came, and the run says how many they are.",
        why="A tag that is not sent is missing in Ometria's segments.",
        source=_REFERENCE,
    ),
    _fact(
        id="mailchimp-members",
        assumed="Members have a contact_id, a last_changed, and a status that is documented.",
        asked="Up to 2,000 members from all over the list are looked at; archived ones as well.",
        if_not="Without a contact_id the web_id is used. A status that is not documented is never an opt-in.",
        why="The contact_id follows a member through a change of address; the status is the consent.",
        source=_REFERENCE,
    ),
    _fact(
        id="mailchimp-connections",
        assumed="Ten requests may be open at once, and the eleventh is refused with a 429.",
        asked="With --connections 11 alone: eleven pages are asked for at once, which may disturb other programs.",
        if_not="The importer keeps to ten, to fewer where one is refused, and takes a bare 403 for a refusal as well.",
        why="Everything that uses the account shares its connections.",
        source=_REFERENCE + "; a bare 403 in reports of users",
    ),
    _fact(
        id="mailchimp-unknown-list",
        assumed="A list that does not exist is a 404 with a reason.",
        asked="One is asked for.",
        if_not="A list that was deleted may then look like one without members: a full sync that is shown none fails.",
        why="An empty answer must not be taken for an empty list.",
        source=_REFERENCE,
    ),
    _fact(
        id="mailchimp-wrong-key",
        assumed="A key that does not exist is a 401, and a 403 where its data centre is wrong.",
        asked="One request is made with an invented key.",
        if_not="The message about a wrong key may then be another one.",
        why="An operator is told to look at the key only where it is the key.",
        source=_REFERENCE,
    ),
)
