"""What every test gets: no thread left behind, the shared data where it is, and clear reasons for skipping."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def pytest_configure() -> None:
    """A shell starts what runs in the background with Ctrl-C ignored; here tests press it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _no_thread_left() -> Iterator[None]:
    yield
    left = [thread.name for thread in threading.enumerate() if thread.name.startswith("hr-")]
    assert not left, f"threads left behind: {left}"


@pytest.fixture(autouse=True)
def _cache_of_its_own(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was built or proven on this machine must not change what a test sees."""
    monkeypatch.setenv("HEADRACE_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real video and labelled data; skips where it is absent."""
    folder = Path(os.environ.get("HEADRACE_SHARED", ROOT.parent / "shared")) / "data"
    if not folder.is_dir():
        pytest.skip("the shared data is not here: put it beside the checkout or set HEADRACE_SHARED")
    return folder


@pytest.fixture
def quick_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Speed is measured for a moment only: enough for what is said about it, not for the figures."""
    from headrace.engines import race

    monkeypatch.setattr(race, "ROUNDS", 3)
    monkeypatch.setattr(race, "_ALONE_S", 0.01)
    monkeypatch.setattr(race, "_TOGETHER_S", 0.02)
