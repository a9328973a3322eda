"""The window, on SDL's dummy display: what it shows, which keys it knows, and how it fails."""

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from fakes import FakeSink, FakeSource, result, stream_stats
from media import number_of, numbered

from headrace.stream import Pipeline
from headrace.stream.errors import SinkError
from headrace.stream.sinks.window import WindowSink, window_trouble

pygame = pytest.importorskip("pygame", reason="pygame-ce is not installed: pip install 'headrace[window]'")


@pytest.fixture(autouse=True)
def _dummy_display(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    yield
    pygame.display.quit()


class Quits:
    """Counts how often it is called."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


@pytest.fixture
def quits() -> Quits:
    return Quits()


@pytest.fixture
def window(quits: Quits) -> Iterator[WindowSink]:
    sink = WindowSink(quits)
    sink.open()
    yield sink
    sink.close()


def shown() -> np.ndarray:
    """What is on the screen: uint8 (H, W, 3)."""
    return np.ascontiguousarray(pygame.surfarray.array3d(pygame.display.get_surface()).swapaxes(0, 1))


def press(key: Any) -> None:
    pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=key))


def test_it_takes_the_first_picture_s_size_and_shows_each(window: WindowSink) -> None:
    for at in (3, 200):
        window.write(result(at, size=(320, 240)))
        np.testing.assert_array_equal(shown(), numbered(at, (320, 240)))


def test_a_picture_larger_than_a_screen_is_made_smaller(window: WindowSink) -> None:
    window.write(result(77, size=(3840, 2160)))
    assert shown().shape == (900, 1600, 3)
    assert number_of(shown()) == 77


def test_streams_stand_side_by_side(window: WindowSink) -> None:
    for at, stream_id in enumerate(("a", "b", "c")):
        window.write(result(10 + at, stream_id=stream_id, size=(320, 240)))
    window.write(result(99, stream_id="b", size=(160, 120)))
    screen = shown()
    assert screen.shape == (480, 640, 3)
    assert number_of(screen[:240, :320]) == 10
    assert number_of(screen[:240, 320:]) == 99, "another size is stretched into its tile"
    assert number_of(screen[240:, :320]) == 12
    assert screen[240:, 320:].max() == 0, "the fourth tile is empty"


def test_a_new_shape_is_letterboxed(window: WindowSink) -> None:
    window.write(result(255, size=(320, 240)))
    window.write(result(2, size=(240, 240)))
    assert number_of(shown()[:, 40:280]) == 2
    assert shown()[:, :40].max() == 0, "nothing of the picture before is left beside it"


@pytest.mark.parametrize("key", ["K_q", "K_ESCAPE"])
def test_q_and_escape_ask_for_the_end(window: WindowSink, quits: Quits, key: str) -> None:
    window.write(result(0))
    press(pygame.K_a)
    window.write(result(1))
    assert quits.count == 0
    press(getattr(pygame, key))
    window.write(result(2))
    assert quits.count == 1


def test_closing_the_window_is_a_failure_of_the_window(window: WindowSink, quits: Quits) -> None:
    window.write(result(0))
    pygame.event.post(pygame.event.Event(pygame.QUIT))
    with pytest.raises(SinkError, match="the window was closed"):
        window.write(result(1))
    assert quits.count == 0, "the others go on"


def test_a_closed_window_is_an_event_and_the_others_go_on() -> None:
    def close_the_window(at: int) -> None:
        if at == 10:
            pygame.event.post(pygame.event.Event(pygame.QUIT))

    window, memory = WindowSink(lambda: None), FakeSink()
    opened = threading.Event()

    def wait_for_the_window(at: int) -> None:
        # Its own thread opens it; only then can somebody close it.
        while at == 5 and not pygame.display.get_init():
            opened.wait(0.001)
        close_the_window(at)

    with Pipeline(FakeSource(200, before=wait_for_the_window), sinks=[window, memory]) as pipeline:
        assert pipeline.wait(60)
    assert pipeline.outputs.failures == {}, "its user wanted it"
    assert not pipeline.outputs.gone, "one output is left"
    assert [event.text for event in pipeline.events.take() if event.kind == "ended"] == ["the window was closed"]
    assert memory.seqs("fake") == list(range(200))


def test_closing_takes_the_window_away(window: WindowSink) -> None:
    window.write(result(0))
    window.end(stream_stats())
    assert pygame.display.get_surface() is not None
    window.close()
    window.close()
    assert not pygame.display.get_init()


def test_without_a_display_the_reason_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    trouble = window_trouble()
    assert trouble is not None
    assert "no display" in trouble
    with pytest.raises(SinkError, match=r"cannot open a window: there is no display"):
        WindowSink(lambda: None).open()


def test_a_display_that_does_not_answer_is_a_failure_of_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "no such driver")
    sink = WindowSink(lambda: None)
    sink.open()
    with pytest.raises(SinkError, match=r"cannot open a window: .*not available"):
        sink.write(result(0))
    sink.close()


def test_without_pygame_the_line_that_installs_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pygame", None)
    trouble = window_trouble()
    assert trouble is not None
    assert 'pip install "headrace[window]"' in trouble
