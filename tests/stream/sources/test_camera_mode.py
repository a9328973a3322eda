"""Which mode a camera is asked for."""

import pytest

from headrace.stream.errors import RefusedError
from headrace.stream.sources.camera_mode import Format, Mode, Wanted, choose_mode

USB2 = (
    Format(fourcc="YUYV", width=640, height=480, fps=(30.0, 15.0)),
    Format(fourcc="YUYV", width=1280, height=720, fps=(10.0,)),
    Format(fourcc="MJPG", width=640, height=480, fps=(30.0,)),
    Format(fourcc="MJPG", width=1280, height=720, fps=(60.0, 29.97, 15.0)),
    Format(fourcc="MJPG", width=1920, height=1080, fps=(30.0,)),
    Format(fourcc="H264", width=3840, height=2160, fps=(30.0,)),
)
RAW_ONLY = tuple(it for it in USB2 if it.fourcc == "YUYV")


@pytest.mark.parametrize(
    ("formats", "wanted", "mode"),
    [
        (USB2, Wanted(), Mode(size=(1280, 720), fps=29.97, fourcc="MJPG")),
        (USB2, Wanted(size=(640, 480)), Mode(size=(640, 480), fps=30.0, fourcc="YUYV")),
        (USB2, Wanted(size=(1920, 1080)), Mode(size=(1920, 1080), fps=30.0, fourcc="MJPG")),
        (USB2, Wanted(size=(3840, 2160)), Mode(size=(1920, 1080), fps=30.0, fourcc="MJPG")),
        (USB2, Wanted(size=(1280, 720), fps=10), Mode(size=(1280, 720), fps=10.0, fourcc="YUYV")),
        (USB2, Wanted(fps=60), Mode(size=(1280, 720), fps=60.0, fourcc="MJPG")),
        (USB2, Wanted(pixel_format="yuyv422"), Mode(size=(640, 480), fps=30.0, fourcc="YUYV")),
        (RAW_ONLY, Wanted(), Mode(size=(640, 480), fps=30.0, fourcc="YUYV")),
        (RAW_ONLY, Wanted(size=(1280, 720)), Mode(size=(1280, 720), fps=10.0, fourcc="YUYV")),
        ((), Wanted(), Mode(size=(1280, 720), fps=30.0)),
        ((), Wanted(size=(320, 240), fps=15), Mode(size=(320, 240), fps=15)),
    ],
)
def test_the_nearest_mode_is_chosen(formats: tuple[Format, ...], wanted: Wanted, mode: Mode) -> None:
    assert choose_mode(formats, wanted) == mode


def test_a_driver_that_lists_no_rates_is_asked_for_the_wanted_one() -> None:
    formats = [Format(fourcc="YUYV", width=640, height=480)]
    assert choose_mode(formats, Wanted(fps=12)) == Mode(size=(640, 480), fps=12, fourcc="YUYV")


@pytest.mark.parametrize(("wanted", "names"), [(Wanted(pixel_format="nv12"), "nv12"), (Wanted(), "MJPG")])
def test_a_missing_pixel_format_is_refused_with_what_there_is(wanted: Wanted, names: str) -> None:
    h264_only = [it for it in USB2 if it.fourcc == "H264"]
    with pytest.raises(RefusedError, match=rf"{names}.*it has H264"):
        choose_mode(h264_only, wanted)


def test_a_format_reads_as_people_write_it() -> None:
    assert [str(it) for it in (USB2[0], Format(fourcc="GREY", width=8, height=6))] == [
        "YUYV 640x480 at 30, 15 fps",
        "GREY 8x6",
    ]
