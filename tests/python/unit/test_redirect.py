"""Python's functions on paths are led from where a cluster mounts secrets to where this run has them."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flyte_local.bootstrap import redirect
from flyte_local.bootstrap.redirect import MOUNTED, Access, Changing, Looking, Open, Places, Scandir


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Makes a directory of secrets."""
    found = tmp_path / "flyte-secrets"
    found.mkdir()
    (found / "key").write_text("a value")
    (found / "team").mkdir()
    (found / "team" / "key").write_text("of a team")
    return found


@pytest.mark.parametrize(
    ("path", "below"),
    [
        (MOUNTED, ""),
        (f"{MOUNTED}/", ""),
        (f"{MOUNTED}/key", "/key"),
        (f"/{MOUNTED}/key", "/key"),
        (f"{MOUNTED}/team/../key", "/key"),
        (f"/etc/../{MOUNTED}/team/key", "/team/key"),
        ("/etc/flyte/./secrets//key", "/key"),
    ],
)
def test_a_path_of_a_secret_leads_to_the_run_directory(directory: Path, path: str, below: str) -> None:
    places = Places(str(directory))
    assert places.lead(path) == f"{directory}{below}"
    assert places.lead(path.encode()) == f"{directory}{below}".encode()
    assert places.lead(Path(path)) == f"{directory}{below}"


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "/etc/flyte", f"{MOUNTED}-of-another", f"{MOUNTED}/..", "key", "", 3, None, ["/etc/flyte/secrets"]]
)
def test_no_other_path_is_led(directory: Path, path: object) -> None:
    assert Places(str(directory)).lead(path) is None


def test_a_relative_path_is_led_from_the_working_directory(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/etc")
    assert Places(str(directory)).lead("flyte/secrets/key") == f"{directory}/key"


def test_the_run_directory_is_led_to_itself(directory: Path) -> None:
    assert Places(str(directory)).lead(f"{directory}/key") == f"{directory}/key"


def test_the_parent_is_led_only_where_it_is_looked_at_and_missing(directory: Path) -> None:
    places = Places(str(directory))
    places._lacks_parent = True
    assert places.lead("/etc/flyte", with_parent=True) == str(directory)
    assert places.lead("/etc/flyte") is None
    places._lacks_parent = False
    assert places.lead("/etc/flyte", with_parent=True) is None


def test_a_function_that_looks_finds_the_secret_and_names_the_path_that_was_given(directory: Path) -> None:
    stat = Looking(os.stat, "os", Places(str(directory)), "path")
    assert stat(f"{MOUNTED}/key").st_size == len("a value")
    assert stat(path=f"{MOUNTED}/key").st_size == len("a value")
    with pytest.raises(FileNotFoundError) as raised:
        stat(f"{MOUNTED}/absent")
    assert raised.value.filename == f"{MOUNTED}/absent"


def test_a_function_with_another_path_does_what_it_did(directory: Path, tmp_path: Path) -> None:
    listdir = Looking(os.listdir, "os", Places(str(directory)), "path")
    assert listdir(str(tmp_path)) == ["flyte-secrets"]
    stat = Looking(os.stat, "os", Places(str(directory)), "path")
    descriptor = os.open("/etc", os.O_RDONLY)
    try:
        # It is relative to a directory that the path does not tell.
        with pytest.raises(FileNotFoundError):
            stat("flyte/secrets/key", dir_fd=descriptor)
    finally:
        os.close(descriptor)


def opened(directory: Path) -> Open:
    return Open(open, "builtins", Places(str(directory)), "file")


def test_open_reads_a_secret(directory: Path) -> None:
    with opened(directory)(f"{MOUNTED}/key") as file:
        assert file.read() == "a value"
    with opened(directory)(file=f"{MOUNTED}/key", mode="rb") as file:
        assert file.read() == b"a value"


@pytest.mark.parametrize("mode", ["w", "a", "x", "r+", "rb+", "wb"])
def test_open_does_not_write_a_secret(directory: Path, mode: str) -> None:
    with pytest.raises(OSError) as raised:
        opened(directory)(f"{MOUNTED}/key", mode)
    assert (raised.value.errno, raised.value.filename) == (errno.EROFS, f"{MOUNTED}/key")
    assert (directory / "key").read_text() == "a value"


def test_open_makes_no_file_there(directory: Path) -> None:
    with pytest.raises(OSError) as raised:
        opened(directory)(f"{MOUNTED}/new", "w")
    assert raised.value.errno == errno.EROFS
    assert not (directory / "new").exists()
    # As on a read-only mount: to update a file that is not there does not find it.
    with pytest.raises(FileNotFoundError):
        opened(directory)(f"{MOUNTED}/new", "r+")


@pytest.mark.parametrize("flags", [os.O_WRONLY, os.O_RDWR, os.O_RDONLY | os.O_TRUNC, os.O_WRONLY | os.O_CREAT])
def test_os_open_does_not_write_a_secret(directory: Path, flags: int) -> None:
    with pytest.raises(OSError) as raised:
        Open(os.open, "os", Places(str(directory)), "path")(f"{MOUNTED}/key", flags)
    assert raised.value.errno == errno.EROFS


def test_os_open_reads_a_secret(directory: Path) -> None:
    descriptor = Open(os.open, "os", Places(str(directory)), "path")(f"{MOUNTED}/key", os.O_RDONLY)
    try:
        assert os.read(descriptor, 100) == b"a value"
    finally:
        os.close(descriptor)


def test_nothing_there_is_writable(directory: Path) -> None:
    access = Access(os.access, "os", Places(str(directory)), "path")
    assert access(f"{MOUNTED}/key", os.R_OK)
    assert not access(f"{MOUNTED}/key", os.W_OK)
    assert not access(f"{MOUNTED}/absent", os.R_OK)


def test_scandir_shows_the_paths_that_were_asked_for(directory: Path) -> None:
    with Scandir(os.scandir, "os", Places(str(directory)), "path")(MOUNTED) as entries:
        found = {entry.name: (entry.path, os.fspath(entry), entry.is_dir()) for entry in entries}
    assert found == {
        "key": (f"{MOUNTED}/key", f"{MOUNTED}/key", False),
        "team": (f"{MOUNTED}/team", f"{MOUNTED}/team", True),
    }


@pytest.mark.parametrize(
    ("function", "positions", "arguments"),
    [
        (os.remove, (0,), (f"{MOUNTED}/key",)),
        (os.chmod, (0,), (f"{MOUNTED}/key", 0o777)),
        (os.rename, (0, 1), (f"{MOUNTED}/key", "elsewhere")),
        (os.rename, (0, 1), ("elsewhere", f"{MOUNTED}/key")),
        (os.symlink, (1,), ("elsewhere", f"{MOUNTED}/link")),
    ],
)
def test_nothing_there_is_changed(
    directory: Path, function: Any, positions: tuple[int, ...], arguments: tuple[Any, ...]
) -> None:
    with pytest.raises(OSError) as raised:
        Changing(function, "os", Places(str(directory)), positions)(*arguments)
    assert raised.value.errno == errno.EROFS
    assert sorted(os.listdir(directory)) == ["key", "team"]


def test_other_paths_are_changed(directory: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.touch()
    Changing(os.remove, "os", Places(str(directory)), (0,))(other)
    assert not other.exists()


def test_a_led_function_stays_a_function_to_those_who_look(directory: Path) -> None:
    led = Looking(os.stat, "os", Places(str(directory)), "path")
    assert (led.__name__, led.__module__, repr(led)) == ("stat", "os", repr(os.stat))


def test_every_function_that_is_led_exists_on_some_system() -> None:
    names = {name for names in (*redirect.LOOKING.values(), *redirect.CHANGING.values()) for name in names}
    missing = {name for name in names - {"open"} if not hasattr(os, name)}
    assert missing <= {"chflags", "lchflags", "lchmod"}


def test_all_ways_to_read_are_led_once_that_is_switched_on(directory: Path, root: Path) -> None:
    program = f"""
import glob, io, json, os, pathlib, sys
from flyte_local.bootstrap.redirect import lead_to
lead_to(sys.argv[1])
from os import listdir
where = {MOUNTED!r}
descriptor = os.open(where + "/key", os.O_RDONLY)
print(json.dumps([
    open(where + "/key").read(),
    pathlib.Path(where, "key").read_text(),
    os.read(descriptor, 100).decode(),
    sorted(listdir(where)),
    sorted(map(str, pathlib.Path(where).iterdir())),
    sorted(glob.glob(where + "/*")),
    sorted(map(str, pathlib.Path(where).glob("*"))),
    pathlib.Path(where, "absent").exists(),
    os.path.isdir(where),
    [(top, sorted(files)) for top, _, files in os.walk(where)],
]))
"""
    environment = {**os.environ, "PYTHONPATH": str(root / "python"), "PYTHONDONTWRITEBYTECODE": "1"}
    ran = subprocess.run(
        [sys.executable, "-W", "ignore::ResourceWarning", "-c", program, str(directory)],
        capture_output=True,
        env=environment,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    both = [f"{MOUNTED}/key", f"{MOUNTED}/team"]
    assert json.loads(ran.stdout) == [
        "a value",
        "a value",
        "a value",
        ["key", "team"],
        both,
        both,
        both,
        False,
        True,
        [[MOUNTED, ["key"]], [f"{MOUNTED}/team", ["key"]]],
    ]
