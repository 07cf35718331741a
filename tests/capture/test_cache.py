"""Where the cache is."""

from pathlib import Path

import pytest

from kinecast.capture.cache import cache_dir


def test_the_nearest_setting_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KINECAST_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_dir() == tmp_path / ".cache" / "kinecast"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_dir() == tmp_path / "xdg" / "kinecast"
    monkeypatch.setenv("KINECAST_CACHE", str(tmp_path / "own"))
    assert cache_dir() == tmp_path / "own"
    assert not (tmp_path / "own").exists(), "asking makes no folder"
