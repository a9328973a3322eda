"""The whole pipeline on a real RTSP server: it plays, comes back, and keeps its neighbours out of trouble."""

import threading
import time
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from peers import need_rtsp_server
from rtsp_server import PASSWORD, SIZE, USER, RtspServer

from headrace.stream import Pipeline, PipelineError, Result

pytestmark = pytest.mark.rtsp


@pytest.fixture(scope="module", autouse=True)
def _server_here() -> None:
    need_rtsp_server()


@pytest.fixture(scope="module")
def server() -> Iterator[RtspServer]:
    camera = RtspServer()
    yield camera
    camera.kill()


@pytest.mark.parametrize("mount", ["h264", "h265", "mjpeg"])
def test_a_camera_is_rendered_and_the_books_add_up(server: RtspServer, mount: str) -> None:
    with Pipeline(server.url(mount), frames=20) as pipeline:
        results = list(pipeline)
    (stream,) = pipeline.stats().streams.values()
    assert stream.ledger.rendered == 20
    assert stream.ledger.adds_up
    assert stream.ledger.in_flight == 0
    assert [result.frame.seq for result in results] == sorted(result.frame.seq for result in results)
    assert all(result.frame.size == SIZE for result in results)


def test_joining_in_the_middle_shows_no_grey(server: RtspServer) -> None:
    with Pipeline(server.url("h264"), frames=5) as first:
        wanted = next(iter(first)).frame.picture.rgb().mean(axis=(0, 1))
        with Pipeline(server.url("h264"), frames=1) as second:
            shown = next(iter(second)).frame.picture.rgb()
    assert abs(shown.mean(axis=(0, 1)) - wanted).max() < 4


@pytest.mark.slow
def test_a_server_that_is_away_for_five_seconds_comes_back_in_a_new_epoch() -> None:
    server = RtspServer()
    epochs: list[int] = []
    try:
        with Pipeline(server.url("h264")) as pipeline:
            results = iter(pipeline)
            epochs += [next(results).frame.epoch for _ in range(10)]
            server.kill()
            threading.Event().wait(5.0)  # this is the case: how long the server is away
            states = {stream.state for stream in pipeline.stats().streams.values()}
            server.start()
            result = next(results)
            while result.frame.epoch == 0:
                result = next(results)
            epochs.append(result.frame.epoch)
    finally:
        server.kill()
    assert states == {"retrying"}
    assert epochs == [0] * 10 + [1]
    assert pipeline.stats().streams["h264"].ledger.adds_up


def test_a_wrong_password_ends_the_stream_with_one_line() -> None:
    server = RtspServer(login="digest")
    try:
        with pytest.raises(PipelineError) as caught, Pipeline(server.url("h264", user=USER, password="wr:ong")) as p:
            p.wait()
    finally:
        server.kill()
    text = str(caught.value)
    assert "\n" not in text
    assert "password" in text
    assert "wr:ong" not in text
    assert quote("wr:ong", safe="") not in text


def test_of_three_sources_one_is_dead_from_the_start_and_one_dies() -> None:
    """The file's counts are exact, the living camera goes on: neither notices."""
    living, dying = RtspServer(), RtspServer()
    dead = RtspServer()
    dead.kill()
    seen: dict[str, list[Result]] = {}
    after_death = 0
    try:
        sources = [living.url("h264"), dying.url("mjpeg"), dead.url("h265"), "scene:street?seconds=1&size=160x120"]
        with Pipeline(sources) as pipeline:
            deadline_s = time.monotonic() + 60
            for result in pipeline:
                seen.setdefault(result.frame.stream_id, []).append(result)
                if len(seen.get("mjpeg", ())) == 5:
                    dying.kill()
                after_death += result.frame.stream_id == "h264" and len(seen.get("mjpeg", ())) >= 5
                over = pipeline.stats().streams["scene:street"].state == "ended"
                if (after_death >= 50 and over) or time.monotonic() > deadline_s:
                    break
            states = {name: stream.state for name, stream in pipeline.stats().streams.items()}
    finally:
        living.kill()
        dying.kill()
    assert states == {"h264": "up", "mjpeg": "retrying", "h265": "retrying", "scene:street": "ended"}
    assert len(seen["scene:street"]) == 25
    assert after_death >= 50
    assert {result.frame.epoch for result in seen["h264"]} == {0}


@pytest.mark.parametrize("password", [PASSWORD, "not-it-at-all"])
def test_no_password_appears_anywhere(password: str) -> None:
    server = RtspServer(login="basic")
    said: list[str] = []
    try:
        try:
            with Pipeline(server.url("h264", user=USER, password=password), frames=5) as pipeline:
                said += [repr(result) + repr(result.frame) for result in pipeline]
        except PipelineError as error:
            cause: BaseException | None = error
            while cause is not None:
                said += [str(cause), repr(cause)]
                cause = cause.__cause__ or cause.__context__
        said += [str(pipeline.stats()), repr(pipeline.stats()), repr(pipeline.events.take())]
    finally:
        server.kill()
    for form in {password, quote(password, safe=""), quote(password)}:
        assert not [text for text in said if form in text]
