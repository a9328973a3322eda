"""Frames and clips of a source as a network is fed them: spread over it, of any kind of source, and what is told."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import FakeSource, action_engine, segment_engine
from media import even_times, number_of, write_video

from headrace.models import ModelSpec, spec
from headrace.stream import footage
from headrace.stream.clip import ClipSampler
from headrace.stream.decode import Decoder
from headrace.stream.errors import RefusedError, SourceError
from headrace.stream.footage import feeds
from headrace.stream.frame import Clip
from headrace.stream.ledger import Ledger
from headrace.stream.scene.world import CLASS_NAMES
from headrace.stream.sources.file import FileSource

SEGMENT: ModelSpec = segment_engine().spec
ACTION: ModelSpec = action_engine().spec


@pytest.fixture
def network() -> ModelSpec:
    """Takes pictures as large as the numbered ones are."""
    return replace(SEGMENT, size=(64, 48), inputs=(replace(SEGMENT.inputs[0], shape=(None, 48, 64, 3)),))


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return write_video(tmp_path / "film.mp4", times_s=even_times(100))


def numbers(found: list[footage.Feeds]) -> list[int]:
    return [number_of(fed["frame"][0]) for fed in found]


def scripted(monkeypatch: pytest.MonkeyPatch, source: FakeSource) -> FakeSource:
    monkeypatch.setattr(footage, "open_source", lambda text: source)
    return source


def test_frames_are_spread_over_a_file(network: ModelSpec, film: Path) -> None:
    found = feeds(network, str(film), 5)
    assert np.abs(np.subtract(numbers(found), [10, 30, 50, 70, 90])).max() <= 8
    assert all(fed["frame"].shape == (1, 48, 64, 3) and fed["frame"].dtype == np.uint8 for fed in found)


def test_every_frame_comes_where_as_many_are_asked_for(network: ModelSpec, film: Path) -> None:
    assert numbers(feeds(network, str(film), 100)) == list(range(100))


def test_they_are_scaled_to_the_networks_size(film: Path) -> None:
    small = replace(SEGMENT, size=(32, 24))
    assert feeds(small, str(film), 1)[0]["frame"].shape == (1, 24, 32, 3)


@pytest.mark.parametrize("b_frames", [0, 2])
def test_of_a_long_file_only_what_follows_keyframes_is_decoded(
    network: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, b_frames: int
) -> None:
    film = write_video(tmp_path / "long.mp4", times_s=even_times(120), gop=10, b_frames=b_frames)
    decoded: list[int] = []
    real = Decoder.decode

    def counting(decoder: Decoder, packet: Any) -> Any:
        decoded.append(packet.seq)
        return real(decoder, packet)

    monkeypatch.setattr(Decoder, "decode", counting)
    monkeypatch.setattr(footage, "_WHOLE_PACKETS", 50)
    assert numbers(feeds(network, str(film), 4)) == [10, 40, 70, 100]
    assert len(decoded) < 60


def test_a_long_file_with_too_few_keyframes_is_decoded_whole(
    network: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = write_video(tmp_path / "long.mp4", times_s=even_times(120), gop=100)
    monkeypatch.setattr(footage, "_WHOLE_PACKETS", 50)
    found = numbers(feeds(network, str(film), 4))
    assert np.abs(np.subtract(found, [15, 45, 75, 105])).max() <= 8


def test_clips_are_those_that_the_pipeline_cuts(film: Path) -> None:
    sampler = ClipSampler(ACTION.clip)  # type: ignore[arg-type]
    decoder, source = Decoder(Ledger("film"), lambda line: None, live=False), FileSource(film)
    source.open()
    clips: list[Clip] = []
    seq = 0
    while (packet := source.read()) is not None:
        for frame in decoder.decode(replace(packet, seq=seq)):
            clips += sampler.push(frame)
        seq += 1
    for frame in decoder.flush():
        clips += sampler.push(frame)
    source.close()
    clips += sampler.finish()
    found = feeds(ACTION, str(film), len(clips))
    assert len(found) == len(clips) > 10
    for fed, clip in zip(found, clips, strict=True):
        np.testing.assert_array_equal(fed["images"][0], clip.images)
        np.testing.assert_array_equal(fed["flows"][0], clip.flows)


def test_of_a_long_file_a_clip_begins_behind_each_keyframe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film = write_video(tmp_path / "long.mp4", times_s=even_times(200), gop=25)
    monkeypatch.setattr(footage, "_WHOLE_PACKETS_FLOW", 50)
    found = feeds(ACTION, str(film), 4)
    assert [fed["images"].shape for fed in found] == [(1, 3, 24, 32, 3)] * 4
    assert [number_of(fed["images"][0, 0]) for fed in found] == [25, 75, 125, 175]


def test_a_folder_of_pictures(network: ModelSpec, shared_data: Path) -> None:
    folder = shared_data / "segmentation" / "camvid" / "val" / "images"
    found = feeds(network, str(folder), 3)
    assert len({fed["frame"].tobytes() for fed in found}) == 3


def test_a_scene_with_an_end_and_one_without(network: ModelSpec) -> None:
    for url in ("scene:street?size=64x48&seconds=4&fps=5", "scene:street?size=64x48"):
        found = feeds(network, url, 4)
        assert len({fed["frame"].tobytes() for fed in found}) == 4


def test_the_bundled_scene_shows_several_places() -> None:
    found = feeds(spec("street"), None, 7)
    assert len({fed["frame"].tobytes() for fed in found}) == 7
    assert all(fed["frame"].shape == (1, 360, 480, 3) for fed in found)


def test_the_bundled_scene_has_stories_for_networks_of_clips() -> None:
    found = feeds(spec("two_stream"), None, 5)
    assert len({fed["images"].tobytes() for fed in found}) == 5
    assert all(fed["flows"].shape == (1, 20, 96, 96, 2) for fed in found)
    assert all(np.abs(fed["flows"]).max() > 0.5 for fed in found)  # somebody moves


def test_the_scene_is_that_which_the_network_knows() -> None:
    assert "scene:street" in footage._view(1, streets=True)
    assert [footage._view(place, streets=False).split("?")[0] for place in (0, 1)] == ["scene:street", "scene:room"]
    assert spec("street").labels == CLASS_NAMES


def test_the_same_source_gives_the_same_again(network: ModelSpec, film: Path) -> None:
    for source in (str(film), None):
        first, second = (feeds(network, source, 3) for _ in range(2))
        assert all((a["frame"] == b["frame"]).all() for a, b in zip(first, second, strict=True))


def test_a_live_source_is_read_until_there_are_enough(network: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    source = scripted(monkeypatch, FakeSource(None, is_live=True))
    found = feeds(network, "camera", 4)
    assert numbers(found) == [0, 7, 14, 21]  # a quarter of a second apart, at 25 fps
    assert source.closed


def test_fewer_than_asked_are_told(network: ModelSpec, film: Path) -> None:
    lines: list[str] = []
    assert len(feeds(network, str(film), 150, told=lines.append)) == 100
    assert lines == [f"{film}: gives 100 frames; 150 were asked for"]
    lines.clear()
    assert len(feeds(ACTION, str(film), 99, told=lines.append)) < 99
    assert lines[0].endswith("clips of 0.4 s; 99 were asked for")


def test_too_short_for_a_clip_is_an_error(tmp_path: Path) -> None:
    short = write_video(tmp_path / "short.mp4", times_s=even_times(3))
    with pytest.raises(SourceError, match=r"short\.mp4: too short: it gives none of the 2 clips of 0\.4 s"):
        feeds(ACTION, str(short), 2)


def test_what_cannot_be_read_is_an_error(network: ModelSpec, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="no such file"):
        feeds(network, str(tmp_path / "none.mp4"), 1)
    (tmp_path / "text.mp4").write_text("no video", encoding="utf-8")
    with pytest.raises(RefusedError, match="not a video"):
        feeds(network, str(tmp_path / "text.mp4"), 1)
    with pytest.raises(ValueError, match="is no source; allowed"):
        feeds(network, "gopher://x", 1)
    with pytest.raises(ValueError, match="at least 1 is needed"):
        feeds(network, None, 0)


@pytest.mark.parametrize("at", [-1, 0, 30])
@pytest.mark.parametrize("is_live", [False, True])
def test_a_source_that_fails_is_closed(
    network: ModelSpec, monkeypatch: pytest.MonkeyPatch, at: int, is_live: bool
) -> None:
    failing = FakeSource(None, is_live=is_live, fails={at: SourceError("the cable is out")})
    source = scripted(monkeypatch, failing)
    with pytest.raises(SourceError, match="the cable is out"):
        feeds(network, "camera", 50)
    assert source.closed


def test_a_password_is_not_repeated(network: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, FakeSource(0))
    with pytest.raises(SourceError) as caught:
        feeds(network, "rtsp://me:secret@gate/1", 1)
    assert "secret" not in str(caught.value)


def test_a_network_of_other_inputs_is_refused() -> None:
    two = replace(SEGMENT, inputs=(*SEGMENT.inputs, replace(SEGMENT.inputs[0], name="depth")))
    with pytest.raises(
        ValueError, match=r"has inputs depth \(uint8 BHWC\), frame .*; from video come one input, the picture"
    ):
        feeds(two, None, 1)
    other = replace(ACTION, inputs=(replace(ACTION.inputs[0], name="sound"),))
    with pytest.raises(ValueError, match=r"has inputs sound .*; from video come inputs images \(uint8\) and flows"):
        feeds(other, None, 1)
    floats = replace(SEGMENT, inputs=(replace(SEGMENT.inputs[0], dtype="float32"),))
    with pytest.raises(ValueError, match=r"has inputs \w+ \(float32 BHWC\); from video .* \(uint8 BHWC\)"):
        feeds(floats, None, 1)
