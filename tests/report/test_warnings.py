"""What is warned of stands in the run, and is said once where only trouble is said; what fails at first is shown."""

from __future__ import annotations

import json

from conftest import CONFIG, Importer, MakeImporter
from passing import time_passes

FORCED = "force_optin is on"


def warned(make_importer: MakeImporter) -> Importer:
    """A list with a warning in each sync."""
    importer = make_importer(size=20)
    importer.configure(CONFIG + "ometria.force_optin = true\n")
    importer.create_state_file()
    return importer


def hour(importer: Importer, joining: int) -> None:
    time_passes(3_600)
    importer.sandbox.audience().join(joining)
    time_passes(60)


def test_a_warning_passes_quiet_once(make_importer: MakeImporter) -> None:
    """As cron runs it: the first sync says it, those after it do not say it again."""
    importer = warned(make_importer)
    assert importer("sync", "--quiet").err.count(FORCED) == 1
    for joining in (1, 2):
        hour(importer, joining)
        assert importer("sync", "--quiet").err == ""


def test_a_warning_that_differs_in_its_number_alone_is_not_said_again_under_quiet(make_importer: MakeImporter) -> None:
    """Hour by hour another few members lack the permission: nobody has to read that each time."""
    importer = make_importer(size=0, permissions=("Email",))
    importer.create_state_file()
    said = []
    for members in (1, 3, 2):
        time_passes(3_600)
        for number in range(members):
            importer.sandbox.audience().add(
                email_address=f"m{members}{number}@example.com", status="subscribed", marketing_permissions=[]
            )
        time_passes(60)
        said.append(importer("sync", "--quiet").err)
    assert ["the permission" in words for words in said] == [True, False, False]


def test_another_warning_is_said_under_quiet_whatever_was_said_before(make_importer: MakeImporter) -> None:
    """A new one is news; with the log for machines, too."""
    importer = warned(make_importer)
    importer("sync", "--quiet")
    importer.configure(CONFIG + 'ometria.force_optin = true\nfields.FNAME = "lastname"\nfields.LNAME = "firstname"\n')
    hour(importer, 1)
    result = importer("sync", "--quiet", "--log-format", "json")
    assert FORCED not in result.err
    assert [one["event"] for one in map(json.loads, result.err.splitlines())] == ["warning"]


def test_a_warning_stands_in_the_run_and_in_status(make_importer: MakeImporter) -> None:
    """Whoever did not read it then reads it later: in words, and for programs."""
    importer = warned(make_importer)
    importer("sync", "--quiet")
    assert FORCED in importer("runs", "show", "1").out
    (text,) = importer("runs", "show", "1", "--json").line["warnings"]
    assert text.startswith(FORCED)
    hour(importer, 0)
    importer("sync", "--quiet")
    assert importer("status", "--json").line["warnings"] == [text]
    assert "1 warning: `mcimport runs show 2`" in importer("status").out


def test_a_state_file_that_is_made_anew_is_said_under_quiet(make_importer: MakeImporter) -> None:
    """A folder that was not kept, or another name for it: once for each file, with its path."""
    importer = make_importer(size=5)
    said = importer("sync", "--quiet").err
    assert f"no state file at {importer.db}" in said
    assert "MCIMPORT_DB" in said
    assert importer("sync", "--quiet").err == ""
    importer.db.unlink()
    assert "no state file at" in importer("sync", "--quiet").err
    importer.db.unlink()
    assert "no state file at" not in importer("sync", "--dry-run", "--quiet").err


def test_status_is_not_0_while_the_last_run_of_a_list_failed(make_importer: MakeImporter) -> None:
    """The first one or a later one; with the reason, until one ends well."""
    importer = make_importer(size=5)
    for _ in range(2):
        importer.sandbox.settings.fault = lambda _: "401"
        assert importer("sync").code == 1
        shown = importer("status")
        assert shown.code == 3
        assert "it does not accept the API key" in " ".join(shown.out.split())
        importer.sandbox.settings.fault = lambda _: None
        assert importer("sync").code == 0
        assert importer("status").code == 0


def test_a_configured_list_that_mailchimp_does_not_know_is_shown_as_failed(make_importer: MakeImporter) -> None:
    """It stays in the settings, so somebody has to look; `check` says the same."""
    importer = make_importer(size=5)
    importer.configure(list_key="ffffffffff")
    assert importer("sync").code == 1
    shown = importer("status", "--json")
    assert (shown.code, shown.line["list_key"], shown.line["last_run_status"]) == (3, "ffffffffff", "failed")
    assert importer("check").code == 1


def test_a_list_that_was_never_run_is_overdue_in_time(make_importer: MakeImporter) -> None:
    """Configured beside one that is synced, and left out of the cron line."""
    importer = make_importer(size=5)
    importer("sync")
    importer.configure(CONFIG.replace('lists = ["{list_key}"]', 'lists = ["{list_key}", "ffffffffff"]'))
    assert importer("status").code == 0
    time_passes(4 * 3_600)
    assert importer("sync", importer.sandbox.list_key).code == 0
    shown = importer("status", "--json")
    assert shown.code == 3
    assert {one["list_key"]: one["overdue"] for one in shown.lines} == {
        importer.sandbox.list_key: False,
        "ffffffffff": True,
    }


def test_the_last_run_shows_the_warnings_of_a_run_that_it_resumed(make_importer: MakeImporter) -> None:
    """A warning of the attempt that was cut off is in `runs show` of the last run, which `status` names."""
    importer = warned(make_importer)
    importer.sandbox.settings.fault = lambda request: "401" if request.path.endswith("/push") else None
    assert importer("sync", "--quiet").code == 1
    assert importer("runs", "show", "1", "--json").line["warnings"]
    importer.sandbox.settings.fault = None
    importer.configure(CONFIG)
    time_passes(60)
    result = importer("sync", "--json")
    assert (result.code, result.line["run_id"], result.line["warnings"]) == (0, 2, [])
    assert FORCED in importer("runs", "show", "2").out
    assert "1 warning: `mcimport runs show 2`" in importer("status").out
