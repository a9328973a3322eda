"""Folders of pictures: order, sizes, and what cannot be read."""

import errno
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from headrace.stream.errors import RefusedError, SourceError
from headrace.stream.event import EventLog
from headrace.stream.frame import Packet
from headrace.stream.sources.images import ImagesSource


def draw(path: Path, level: int, size: tuple[int, int] = (8, 6)) -> None:
    """A picture whose red says which one it is."""
    picture = np.zeros((size[1], size[0], 3), np.uint8)
    picture[..., 0] = level
    written, data = cv2.imencode(path.suffix, picture[..., ::-1])
    assert written
    path.write_bytes(data.tobytes())


def play(source: ImagesSource) -> list[Packet]:
    source.open()
    packets = list(iter(source.read, None))
    source.close()
    return packets


def reds(packets: list[Packet]) -> list[int]:
    return [int(packet.data[0, 0, 0]) for packet in packets if isinstance(packet.data, np.ndarray)]


def test_pictures_come_in_the_order_that_people_sort_them(tmp_path: Path) -> None:
    names = ["frame1.png", "frame2.png", "Frame10.png", "frame10b.png", "other.png"]
    for level, name in enumerate(names):
        draw(tmp_path / name, level)
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / "folder.png").mkdir()
    packets = play(ImagesSource(tmp_path))
    assert reds(packets) == [0, 1, 2, 3, 4]
    assert all(packet.is_keyframe and packet.codec.name == "rgb" for packet in packets)


def test_times_follow_the_rate(tmp_path: Path) -> None:
    for level in range(3):
        draw(tmp_path / f"{level}.bmp", level)
    source = ImagesSource(tmp_path, fps=10)
    info = source.open()
    assert (info.width, info.height, info.fps, info.frames) == (8, 6, 10, 3)
    assert [packet.pts_s for packet in iter(source.read, None)] == pytest.approx([0.0, 0.1, 0.2])


def test_sizes_may_differ_and_grey_becomes_rgb(tmp_path: Path) -> None:
    draw(tmp_path / "a.png", 1, size=(8, 6))
    draw(tmp_path / "b.png", 2, size=(4, 10))
    cv2.imwrite(str(tmp_path / "c.png"), np.full((5, 7), 9, np.uint8))
    cv2.imwrite(str(tmp_path / "d.png"), np.full((5, 7, 3), 40000, np.uint16))
    shapes = [packet.data.shape for packet in play(ImagesSource(tmp_path)) if isinstance(packet.data, np.ndarray)]
    assert shapes == [(6, 8, 3), (10, 4, 3), (5, 7, 3), (5, 7, 3)]


def test_a_broken_picture_is_named_and_skipped_and_the_others_keep_their_times(tmp_path: Path) -> None:
    draw(tmp_path / "1.png", 1)
    (tmp_path / "2.png").write_bytes(b"no picture at all")
    (tmp_path / "3.png").write_bytes(b"")
    draw(tmp_path / "4.png", 4)
    events = EventLog()
    packets = play(ImagesSource(tmp_path, fps=10, events=events, stream_id="door"))
    assert reds(packets) == [1, 4]
    assert [packet.pts_s for packet in packets] == pytest.approx([0.0, 0.3])
    told = events.take()
    assert ["2.png" in told[0].text, "3.png" in told[1].text] == [True, True]
    assert {(event.kind, event.stream_id) for event in told} == {("notice", "door")}


def test_a_broken_first_picture_does_not_shift_the_times(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(b"broken")
    draw(tmp_path / "2.png", 2)
    assert [packet.pts_s for packet in play(ImagesSource(tmp_path, fps=10))] == pytest.approx([0.1])


def test_folders_without_a_picture_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=r"nowhere: no such folder"):
        ImagesSource(tmp_path / "nowhere").open()
    with pytest.raises(RefusedError, match="no pictures in this folder"):
        ImagesSource(tmp_path).open()
    (tmp_path / "1.jpg").write_bytes(b"broken")
    with pytest.raises(RefusedError, match="none of its 1 pictures"):
        ImagesSource(tmp_path).open()


@pytest.mark.parametrize(
    ("number", "error", "why"),
    [
        (errno.EACCES, RefusedError, "it may not be read: check its permissions"),
        (errno.EIO, SourceError, "Input/output error"),
    ],
)
@pytest.mark.parametrize("asked", ["is_dir", "iterdir"])
def test_a_folder_that_cannot_be_read_is_refused_by_name(
    tmp_path: Path, asked: str, number: int, error: type[SourceError], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by permissions: whoever tests as root may read everything."""
    draw(tmp_path / "1.png", 1)

    def fail(path: Path) -> None:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(Path, asked, fail)
    with pytest.raises(SourceError) as caught:
        ImagesSource(tmp_path).open()
    assert type(caught.value) is error
    assert str(caught.value) == f"{tmp_path}: {why}"


def test_a_second_opening_begins_at_the_start(tmp_path: Path) -> None:
    for level in range(3):
        draw(tmp_path / f"{level}.png", level)
    source = ImagesSource(tmp_path)
    source.open()
    source.read()
    assert reds(play(source)) == [0, 1, 2]
    source.close()


def test_real_pictures(shared_data: Path) -> None:
    folder = shared_data / "segmentation/davis_car_shadow"
    images = max(
        (path for path in [folder, *folder.rglob("*")] if path.is_dir()),
        key=lambda it: len(list(it.glob("*.[jw]*"))),
    )
    source = ImagesSource(images)
    info = source.open()
    packets = list(iter(source.read, None))
    assert len(packets) == info.frames
    assert (info.width, info.height) == (854, 480)


@pytest.mark.parametrize("fps", [0, -1, float("nan")])
def test_a_rate_must_be_above_0(tmp_path: Path, fps: float) -> None:
    with pytest.raises(ValueError, match="fps"):
        ImagesSource(tmp_path, fps=fps)
