"""Files of the cache are whole or absent, and a lock has one holder."""

import errno
import os
import threading
from pathlib import Path

import pytest

from headrace.engines import store
from headrace.engines.errors import CacheError, CancelledError


def test_the_folder_is_the_one_named_by_the_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HEADRACE_CACHE", str(tmp_path / "here"))
    assert store.cache_root() == tmp_path / "here"
    monkeypatch.delenv("HEADRACE_CACHE")
    assert store.cache_root().name == "headrace"


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.plan"
    store.put(path, b"one")
    first = store.digest(path)
    store.put(path, b"two of another length")
    assert path.read_bytes() == b"two of another length"
    assert store.digest(path) != first
    assert [each.name for each in path.parent.iterdir()] == ["a.plan"]


def test_a_full_disk_is_said_and_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.plan"
    store.put(path, b"old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CacheError, match=r"a\.plan: the disk is full \(2\.0 MB needed, .* MB free\).*HEADRACE_CACHE"):
        store.put(path, bytes(2_000_000))
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["a.plan"]


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(CacheError, match="cannot write"):
        store.put(tmp_path / "file" / "a.plan", b"x")
    with pytest.raises(CacheError, match="cannot lock"), store.locked(tmp_path / "file" / "a.plan"):
        pass


def test_two_holders_of_one_lock_take_turns(tmp_path: Path) -> None:
    path = tmp_path / "a.plan"
    waits, order = threading.Event(), []

    def second() -> None:
        with store.locked(path, waiting=waits.set):
            order.append("second")

    with store.locked(path):
        thread = threading.Thread(target=second)
        thread.start()
        assert waits.wait(30)
        order.append("first")
    thread.join(30)
    assert order == ["first", "second"]


def test_a_wait_for_a_lock_can_be_cancelled(tmp_path: Path) -> None:
    path = tmp_path / "a.plan"
    with (
        store.locked(path),
        pytest.raises(CancelledError, match=r"a\.plan: cancelled"),
        store.locked(path, cancelled=lambda: True),
    ):
        pass
    with store.locked(path):
        pass
