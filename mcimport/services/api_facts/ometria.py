"""What is assumed of Ometria's Data API 2."""

from __future__ import annotations

from functools import partial

from mcimport.services.api_facts.fact import ApiFact

_DOCUMENTED = "Ometria's Data API documentation"
_MEMORY = "from memory, as the documentation could not be read whole"
_fact = partial(ApiFact, service="Ometria")

OMETRIA: tuple[ApiFact, ...] = (
    _fact(
        id="ometria-key",
        assumed="The key is that of the account which has this list's contacts.",
        asked="The first contacts of the list's collection are searched for contacts of the list.",
        if_not="Syncs go to whichever account the key opens. Check that it is this client's key before the next one.",
        why="A client's members must never reach another client's account, and a key does not name its account.",
        source=_DOCUMENTED,
        is_needed=True,
    ),
    _fact(
        id="ometria-filter",
        assumed="GET /contacts lists one collection where that is asked for.",
        asked="A collection is asked for that does not exist.",
        if_not="`mcimport reconcile` sorts the others out itself, and reads for longer: every contact of the account.",
        why="A comparison of both sides reads a whole collection.",
        source=_MEMORY,
    ),
    _fact(
        id="ometria-order",
        assumed="Contacts are listed in an order that stays, and a new one comes last.",
        asked="A page is read twice, and the next one from its last contact. Writing: where the new contact is.",
        if_not="Each page begins with the last contact of the one before, so a comparison notices what has moved.",
        why="A comparison that passes a contact by would call it missing.",
        source=_DOCUMENTED,
    ),
    _fact(
        id="ometria-page",
        assumed="A page holds 250 contacts where as many are asked for and there.",
        asked="250 are asked for.",
        if_not="A comparison goes on where a page ends, and takes more requests.",
        why="At four reads a second, a million contacts take a quarter of an hour.",
        source=_DOCUMENTED,
    ),
    _fact(
        id="ometria-single",
        assumed="One contact can be read by its collection and id, and one that is not there is a 404.",
        asked="A contact of this list is asked for, and one that does not exist.",
        if_not="Opt-outs in Ometria cannot be looked up before a NOT_SPECIFIED is sent; spot checks find nothing.",
        why="A member who is pending must not lift an opt-out that Ometria recorded.",
        source="public clients' code; the documentation says that it is possible, without the path",
    ),
    _fact(
        id="ometria-address",
        assumed="GET /contacts?email= returns the contacts that have this address.",
        asked="The address of a contact of this list is asked for.",
        if_not="The importer does not use it.",
        why="It would tell which other listings a person has.",
        source="public clients' code",
    ),
    _fact(
        id="ometria-fields",
        assumed="A contact is read back with its collection, id, address and marketing_optin.",
        asked="The names of all fields on a page are collected. Writing: each field that was pushed.",
        if_not="A comparison cannot see what is not read back, and would call it stale: do not mend by it.",
        why="A comparison of both sides is only as good as what can be read.",
        source=_MEMORY,
    ),
    _fact(
        id="ometria-words",
        assumed="marketing_optin is read back in the three words in which it is pushed.",
        asked="The words on a page are counted.",
        if_not="An opt-out that is recorded in another word is not recognized, and may be lifted by a NOT_SPECIFIED.",
        why="Consent is compared by its word.",
        source=_DOCUMENTED,
        is_needed=True,
    ),
    _fact(
        id="ometria-queue",
        assumed="A push is answered with how much room the queue has.",
        asked="The headers of the answers are looked at.",
        if_not="The importer then slows down only when a push is refused.",
        why="A full queue refuses pushes of every program of the account.",
        source=_DOCUMENTED,
    ),
    _fact(
        id="ometria-errors",
        assumed="GET /push/_errors is a list of the latest errors of validation, each with a message and a path.",
        asked="It is read once; the messages are not shown.",
        if_not="The hints beside refused records are missing.",
        why="Ometria validates what it has accepted later, and says nothing of it elsewhere.",
        source=_DOCUMENTED,
    ),
    _fact(
        id="ometria-settling",
        assumed="What was pushed can be read back within a minute.",
        asked="The invented contact is read until each push is there.",
        if_not="Set `settling` in [reconcile] to more, or a comparison calls new contacts missing.",
        why="A comparison that reads too early finds less than there is.",
        source="not documented, but that a push is asynchronous",
        needs_write=True,
    ),
    _fact(
        id="ometria-no-address",
        assumed="A record without an address updates the contact that has its id.",
        asked="The invented contact is given other names by such a record.",
        if_not="An opt-out of a member without an address does not arrive: run `mcimport reconcile` to see who it is.",
        why="A member whose address was deleted or is wrong can still withdraw consent.",
        source="not documented; other programs always send the address",
        is_needed=True,
        needs_write=True,
    ),
    _fact(
        id="ometria-left-out",
        assumed="What a record leaves out stays as it is.",
        asked="A name is pushed once, and looked for after later pushes.",
        if_not="What other programs pushed to the list's collection, and what a record leaves out, is lost.",
        why="A consent that is left alone is left out of the record.",
        source=_DOCUMENTED,
        is_needed=True,
        needs_write=True,
    ),
    _fact(
        id="ometria-not-specified",
        assumed="NOT_SPECIFIED takes an earlier opt-in back.",
        asked="The invented contact is opted in, and pushed with NOT_SPECIFIED.",
        if_not='Members who are pending stay opted in until they confirm. Set pending = "out" and transactional = '
        '"out" in [consent].',
        why="Who signed up again and has not confirmed has not consented.",
        source="not documented",
        is_needed=True,
        needs_write=True,
    ),
    _fact(
        id="ometria-property",
        assumed="A record with a property that was not created is stored, with the property or without it.",
        asked="The invented contact is pushed with one.",
        if_not="Create every property that `mcimport preview` lists in Ometria before the first sync: Ometria drops "
        "whole contacts otherwise.",
        why="Ometria accepts such a record, so no sync would notice.",
        source="not documented",
        is_needed=True,
        needs_write=True,
    ),
    _fact(
        id="ometria-undated",
        assumed="An opt-in without its time gets none.",
        asked="The invented contact is opted in without a time, and read back.",
        if_not="Members of a first sync look as if they had subscribed when it ran: leave them out of the automations "
        "that go by that date.",
        why="History must not start welcome campaigns. A status without a time is said to start nothing.",
        source=_DOCUMENTED + ": a status without a time is dated with the present",
        needs_write=True,
    ),
    _fact(
        id="ometria-ended",
        assumed="The invented contact ends opted out.",
        asked="It is pushed as opted out at the end, and read back.",
        if_not='Opt the contact "probe" of the collection "mcimport-probe" out in Ometria.',
        why="A probe leaves nothing behind that may be mailed.",
        source="this program",
        is_needed=True,
        needs_write=True,
    ),
)
