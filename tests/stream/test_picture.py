"""Pictures: converted at the size that is asked for, with the right colours, upright and with square pixels."""

import threading
from pathlib import Path
from typing import Any, ClassVar

import av
import numpy as np
import pytest
from av.video.reformatter import VideoReformatter
from media import number_of, numbered

from headrace.stream.picture import DecodedPicture, RgbPicture, Rotation

RED, GREEN, BLUE, WHITE, BLACK = (220, 20, 20), (20, 200, 40), (30, 30, 210), (255, 255, 255), (0, 0, 0)


def quarters(size: tuple[int, int] = (64, 48)) -> np.ndarray:
    """Red and green above, blue and white below: uint8 (H, W, 3)."""
    width, height = size
    picture = np.zeros((height, width, 3), np.uint8)
    picture[: height // 2, : width // 2] = RED
    picture[: height // 2, width // 2 :] = GREEN
    picture[height // 2 :, : width // 2] = BLUE
    picture[height // 2 :, width // 2 :] = WHITE
    return picture


def corners(picture: np.ndarray) -> list[tuple[int, ...]]:
    """The middle of each quarter: upper left, upper right, lower left, lower right."""
    height, width = picture.shape[:2]
    at = [(height // 4, width // 4), (height // 4, 3 * width // 4)]
    at += [(3 * height // 4, width // 4), (3 * height // 4, 3 * width // 4)]
    return [tuple(int(value) for value in picture[y, x]) for y, x in at]


def decoded(
    rgb: np.ndarray, pix_fmt: str = "yuv420p", *, rotation: Rotation = 0, pixel_aspect: float = 1.0
) -> DecodedPicture:
    planes = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format=pix_fmt)
    return DecodedPicture(planes, rotation=rotation, pixel_aspect=pixel_aspect)


def near(got: list[tuple[int, ...]], want: list[tuple[int, ...]], within: int = 8) -> bool:
    return bool(np.abs(np.array(got) - np.array(want)).max() <= within)


FORMATS = ["yuv420p", "yuv422p", "yuv444p", "nv12", "yuyv422", "yuv420p10le", "rgb24", "bgr24", "gray", "gbrp"]


@pytest.mark.parametrize("pix_fmt", FORMATS)
def test_colours_of_every_layout(pix_fmt: str) -> None:
    picture = decoded(quarters(), pix_fmt)
    rgb = picture.rgb()
    assert rgb.shape == (48, 64, 3)
    assert rgb.dtype == np.uint8
    if pix_fmt == "gray":
        assert rgb.max(axis=2).tolist() == rgb.min(axis=2).tolist()
    else:
        assert near(corners(rgb), [RED, GREEN, BLUE, WHITE])


@pytest.mark.parametrize("colorspace", ["ITU709", "ITU601"])
@pytest.mark.parametrize("color_range", [1, 2], ids=["limited", "full"])
def test_colours_of_every_standard(colorspace: str, color_range: int) -> None:
    """The standard that the planes name is the one that they are read with."""
    source = av.VideoFrame.from_ndarray(quarters(), format="rgb24")
    planes = source.reformat(format="yuv444p", dst_colorspace=colorspace, dst_color_range=color_range)
    rgb = DecodedPicture(planes).rgb()
    assert near(corners(rgb), [RED, GREEN, BLUE, WHITE])
    assert near(corners(DecodedPicture(planes).rgb((32, 24))), [RED, GREEN, BLUE, WHITE])


@pytest.mark.parametrize("size", [(63, 47), (1, 1), (2, 3), (65, 49), (17, 200)])
def test_odd_sizes(size: tuple[int, int]) -> None:
    rgb = numbered(37, size)
    for pix_fmt in ("yuv420p", "yuv444p"):
        picture = decoded(rgb, pix_fmt)
        assert picture.size == size
        assert picture.rgb().shape == rgb.shape
        for want in ((16, 12), (33, 17), (1, 1), (130, 98)):
            assert picture.rgb(want).shape == (want[1], want[0], 3)
    assert RgbPicture(rgb).rgb((5, 3)).shape == (3, 5, 3)


@pytest.mark.parametrize("kind", ["rgb", "decoded"])
def test_any_size_shows_the_whole_picture(kind: str) -> None:
    rgb = numbered(0b10110010, (640, 480))
    picture = RgbPicture(rgb) if kind == "rgb" else decoded(rgb)
    for size in ((640, 480), (320, 240), (64, 64), (1280, 300)):
        assert number_of(picture.rgb(size)) == 0b10110010
        assert picture.rgb(size).shape == (size[1], size[0], 3)
    assert picture.size == (640, 480)


@pytest.mark.parametrize("kind", ["rgb", "decoded"])
def test_shrinking_averages(kind: str) -> None:
    """A checkerboard shrunk becomes grey: picking single pixels would make it black or white."""
    board = (np.indices((96, 128)).sum(axis=0) % 2 * 255).astype(np.uint8)
    rgb = np.repeat(board[:, :, None], 3, axis=2)
    picture = RgbPicture(rgb) if kind == "rgb" else decoded(rgb, "yuv444p")
    for size in ((32, 24), (128, 32), (32, 96)):
        small = picture.rgb(size).astype(int)
        assert np.abs(small - 127).max() < 50, size


@pytest.mark.parametrize(
    ("rotation", "want"),
    [
        (0, [RED, GREEN, BLUE, WHITE]),
        (90, [GREEN, WHITE, RED, BLUE]),
        (180, [WHITE, BLUE, GREEN, RED]),
        (270, [BLUE, RED, WHITE, GREEN]),
    ],
)
def test_turned_counter_clockwise(rotation: Rotation, want: list[tuple[int, ...]]) -> None:
    picture = decoded(quarters(), rotation=rotation)
    shape = (48, 64) if rotation in (0, 180) else (64, 48)
    assert picture.size == (shape[1], shape[0])
    assert picture.rgb().shape == (*shape, 3)
    assert near(corners(picture.rgb()), want)
    assert picture.rgb((40, 20)).shape == (20, 40, 3)
    assert near(corners(picture.rgb((40, 20))), want)


@pytest.mark.parametrize(
    ("aspect", "rotation", "size"),
    [(2.0, 0, (128, 48)), (0.5, 0, (64, 96)), (128 / 117, 0, (70, 48)), (2.0, 90, (48, 128))],
)
def test_pixels_that_are_not_square(aspect: float, rotation: Rotation, size: tuple[int, int]) -> None:
    picture = decoded(quarters(), rotation=rotation, pixel_aspect=aspect)
    assert picture.size == size
    assert picture.rgb().shape == (size[1], size[0], 3)


def test_a_picture_outlives_what_it_was_read_from() -> None:
    """Arrays own their memory, or keep alive what does."""
    arrays = [decoded(numbered(at, (64, 48)), "rgb24").rgb() for at in range(50)]
    assert [number_of(array) for array in arrays] == list(range(50))


@pytest.mark.parametrize("size", [None, (64, 48), (32, 24), (96, 72)])
@pytest.mark.parametrize("kind", ["rgb", "planes of rgb", "planes"])
def test_what_can_be_written_is_seen_by_nobody_else(kind: str, size: tuple[int, int] | None) -> None:
    rgb = quarters()
    picture = RgbPicture(rgb) if kind == "rgb" else decoded(rgb, "rgb24" if kind == "planes of rgb" else "yuv420p")
    before, mine = picture.rgb(size).copy(), picture.rgb(size)
    assert mine.flags.writeable == (kind == "planes" or size not in (None, (64, 48)))
    if mine.flags.writeable:
        mine[:] = 7
    np.testing.assert_array_equal(picture.rgb(size), before)
    assert rgb.flags.writeable, "the caller's own array stays as it is"


def test_reading_twice_gives_the_same() -> None:
    picture = decoded(quarters())
    np.testing.assert_array_equal(picture.rgb(), picture.rgb())
    np.testing.assert_array_equal(picture.rgb((30, 20)), picture.rgb((30, 20)))


def test_threads_read_one_picture_at_many_sizes() -> None:
    picture = decoded(numbered(99, (320, 240)))
    sizes = [(320, 240), *((16 * at, 12 * at) for at in range(2, 14))]
    alone = {size: picture.rgb(size) for size in sizes}
    wrong: list[tuple[int, int]] = []

    def read() -> None:
        for _ in range(5):
            wrong.extend(size for size in sizes if not np.array_equal(picture.rgb(size), alone[size]))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


class Scaler:
    """One of FFmpeg's, and what it was used for."""

    made: ClassVar[list["Scaler"]] = []

    def __init__(self) -> None:
        self._scaler = VideoReformatter()
        self.uses: set[tuple[object, ...]] = set()
        self.made.append(self)

    def reformat(self, frame: av.VideoFrame, width: int, height: int, *more: Any, **options: Any) -> av.VideoFrame:
        self.uses.add((frame.width, frame.height, frame.format.name, width, height))
        return self._scaler.reformat(frame, width, height, *more, **options)


def test_a_scaler_serves_one_conversion_and_is_kept_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given another one it would be made anew inside, at each frame where cameras of two sizes share a worker."""
    monkeypatch.setattr("headrace.stream.picture._per_thread", threading.local())
    monkeypatch.setattr("headrace.stream.picture.VideoReformatter", Scaler)
    monkeypatch.setattr(Scaler, "made", [])
    cameras = [
        decoded(numbered(1, size), pix_fmt) for size in ((64, 48), (96, 48)) for pix_fmt in ("yuv420p", "nv12")
    ]
    for _ in range(3):
        for camera in cameras:
            camera.rgb((32, 24))
    assert [len(scaler.uses) for scaler in Scaler.made] == [1] * 4


def test_scalers_of_sizes_that_are_no_longer_asked_for_are_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    local = threading.local()
    monkeypatch.setattr("headrace.stream.picture._per_thread", local)
    picture = decoded(quarters())
    for width in range(2, 60):
        picture.rgb((width, 24))
    assert len(local.scalers) <= 16
    assert (64, 48, "yuv420p", (59, 24)) in local.scalers


@pytest.mark.parametrize(
    "array",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)],
)
def test_what_is_no_picture_is_refused(array: Any) -> None:
    with pytest.raises(ValueError, match=r"a picture is uint8 \(H, W, 3\), not "):
        RgbPicture(array)


def test_real_full_range_video_is_not_washed_out(shared_data: Path) -> None:
    """Against OpenCV, which reads the range as well."""
    path = shared_data / "video" / "odd" / "torchcodec_bt709_full_range.mp4"
    with av.open(str(path)) as container:
        planes = next(container.decode(video=0))
        assert planes.color_range == 2
        ours = DecodedPicture(planes).rgb().astype(int)
    luma = planes.to_ndarray()[: planes.height].astype(int)
    weights = np.array([0.2126, 0.7152, 0.0722])
    # What is not clipped must have the luma that the file stores.
    inside = ((ours > 4) & (ours < 251)).all(axis=2)
    assert np.abs(ours @ weights - luma)[inside].mean() < 2
