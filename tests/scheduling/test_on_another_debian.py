"""What `make test-debian` takes along of this machine; the trial itself takes root and a quarter of an hour."""

from __future__ import annotations

from pathlib import Path

from on_another_debian import make_room, paths_in, pip_here

LISTED = """\
:env:.find-links='{folder}/wheels'
global.extra-index-url='file://{folder}/packages/list https://packages.example/list'
global.timeout='60'
install.no-binary='one\\ntwo'
"""


def test_pips_settings_go_in_with_the_folders_that_they_name(tmp_path: Path) -> None:
    """Wherever they come from: files become one file, variables stay such; of an index, what lies beside it, too."""
    for name in ("wheels", "packages/list", "certificates"):
        (tmp_path / name).mkdir(parents=True)
    environment = {
        "PIP_FIND_LINKS": f"{tmp_path}/wheels",
        "PIP_CONFIG_FILE": "/one/of/this/machine",
        "SSL_CERT_DIR": f"{tmp_path}/certificates",
        "HOME": str(tmp_path),
    }
    found = pip_here(LISTED.format(folder=tmp_path), environment)
    assert found.settings["global"]["timeout"] == "60"
    assert found.settings["install"]["no-binary"] == "one\ntwo"
    assert sorted(found.variables) == ["PIP_FIND_LINKS", "SSL_CERT_DIR"]
    assert found.paths == {tmp_path / "wheels", tmp_path / "packages", tmp_path / "certificates"}


def test_what_is_no_path_of_this_machine_is_left_alone(tmp_path: Path) -> None:
    """Addresses, words, what is not there; and never the whole disk."""
    assert paths_in(f"https://packages.example/list on {tmp_path}/missing file:///list relative/path /") == set()


def test_a_mount_finds_a_folder_for_a_folder_and_a_file_for_a_file(tmp_path: Path) -> None:
    """And where a link lies in the new system, which would lead out of it, there is none any more."""
    root, folder, file = tmp_path / "root", tmp_path / "folder", tmp_path / "file"
    folder.mkdir()
    file.touch()
    link = root / file.relative_to("/")
    link.parent.mkdir(parents=True)
    link.symlink_to(file)
    for path in (folder, file):
        make_room(root, path)
    assert (root / folder.relative_to("/")).is_dir()
    assert (link.is_file(), link.is_symlink()) == (True, False)
