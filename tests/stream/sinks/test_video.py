"""The saved video: the source's times, every size, and a file that plays whatever happens to the run."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest
from fakes import result, stream_stats
from media import even_times, number_of, numbered, pictures_of, times_of

from headrace.stream.errors import SinkError
from headrace.stream.frame import Result
from headrace.stream.sinks.video import VideoSink

TICK_S = 1 / 90_000


def saved(path: Path, results: Sequence[Result]) -> Path:
    sink = VideoSink(path)
    sink.open()
    for each in results:
        sink.write(each)
    sink.close()
    return path


@pytest.mark.parametrize(
    "times",
    [
        even_times(30),
        even_times(30, fps=29.97),
        even_times(10, start_s=5.0),
        even_times(10, start_s=0.5109111),
        even_times(10, start_s=86_400.0),
        [0.0, 0.04, 0.05, 0.3, 0.301, 2.0, 2.04, 12.0],
        [3.0],
    ],
    ids=["even", "ntsc", "from 5 s", "from between two milliseconds", "from a day", "variable", "one picture"],
)
def test_times_are_the_source_s(tmp_path: Path, times: list[float]) -> None:
    path = saved(tmp_path / "a.mp4", [result(at, time_s) for at, time_s in enumerate(times)])
    assert times_of(path) == pytest.approx(times, abs=TICK_S)
    assert [number_of(picture) for picture in pictures_of(path)] == list(range(len(times)))
    with av.open(str(path)) as container:
        assert container.start_time == pytest.approx(times[0] * 1e6, abs=12)


def test_times_before_zero_are_moved_to_zero(tmp_path: Path) -> None:
    """An MP4 has no time before zero: players would skip these pictures."""
    times = even_times(20, start_s=-0.5)
    path = saved(tmp_path / "a.mp4", [result(at, time_s) for at, time_s in enumerate(times)])
    assert times_of(path) == pytest.approx(even_times(20), abs=TICK_S)
    assert len(pictures_of(path)) == 20


def test_times_closer_than_a_tick_still_increase(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.mp4", [result(at, at * 1e-6) for at in range(5)])
    assert times_of(path) == pytest.approx([at * TICK_S for at in range(5)], abs=1e-9)


def test_a_reconnect_lasts_as_long_as_it_lasted(tmp_path: Path) -> None:
    before = [result(at, 100 + at / 25, arrival_s=at / 25) for at in range(5)]
    # The camera comes back 7 s later, and its clock begins anew.
    after = [result(5 + at, at / 25, epoch=1, arrival_s=7.16 + at / 25) for at in range(5)]
    path = saved(tmp_path / "a.mp4", before + after)
    want = [100 + at / 25 for at in range(5)] + [107.16 + at / 25 for at in range(5)]
    assert times_of(path) == pytest.approx(want, abs=2 * TICK_S)


@pytest.mark.parametrize("size", [(63, 47), (64, 47), (63, 48), (16, 200), (641, 3)])
def test_odd_sizes_gain_a_row_or_column(tmp_path: Path, size: tuple[int, int]) -> None:
    path = saved(tmp_path / "a.mp4", [result(37, 0.0, size=size)])
    (picture,) = pictures_of(path)
    width, height = size
    assert picture.shape == (height + height % 2, width + width % 2, 3)
    difference = np.abs(picture[:height, :width].astype(int) - numbered(37, size))
    assert np.median(difference) < 12
    if height > 40:
        assert number_of(picture[:height, :width]) == 37


def test_a_new_size_is_fitted_into_the_old_one(tmp_path: Path) -> None:
    sizes = [(64, 48), (128, 96), (32, 96), (65, 49)]
    path = saved(tmp_path / "a.mp4", [result(at, at / 25, size=size) for at, size in enumerate(sizes)])
    pictures = pictures_of(path)
    assert {picture.shape for picture in pictures} == {(48, 64, 3)}
    assert number_of(pictures[1]) == 1
    # A tall picture in a broad file: black bars beside it, none above.
    assert pictures[2][:, :20].max() < 40
    assert number_of(pictures[2][:, 24:40]) == 2


def test_streams_get_files_of_their_own(tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "a.mp4")
    sink.open()
    for at in range(6):
        sink.write(result(at, at / 25, stream_id="gate"))
        sink.write(result(100 + at, at / 25, stream_id="hall/2.mp4"))
    sink.end(stream_stats("gate", rendered=6))
    # A stream that has ended has a finished file while the others go on.
    assert [number_of(picture) for picture in pictures_of(tmp_path / "a.mp4")] == list(range(6))
    sink.close()
    other = tmp_path / "a-hall_2.mp4"
    assert [number_of(picture) for picture in pictures_of(other)] == list(range(100, 106))
    assert sorted(tmp_path.iterdir()) == sorted([tmp_path / "a.mp4", other])


def test_streams_whose_names_look_alike_do_not_share_a_file(tmp_path: Path) -> None:
    names = ["first", "cam.1", "cam_1", "cam 1"]
    sink = VideoSink(tmp_path / "a.mp4")
    sink.open()
    for at, name in enumerate(names):
        sink.write(result(at, 0.0, stream_id=name))
    sink.close()
    shown = sorted(number_of(picture) for path in tmp_path.iterdir() for picture in pictures_of(path))
    assert shown == [0, 1, 2, 3]


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match=r"a\.avi: the name must end in \.mp4"):
        VideoSink(tmp_path / "a.avi").open()
    with pytest.raises(SinkError, match=r"nowhere does not exist"):
        VideoSink(tmp_path / "nowhere" / "a.mp4").open()
    (tmp_path / "folder.mp4").mkdir()
    sink = VideoSink(tmp_path / "folder.mp4")
    sink.open()
    with pytest.raises(SinkError, match=r"cannot write .*folder\.mp4: Is a directory"):
        sink.write(result())
    sink.close()


def test_closing_twice_and_with_nothing_written(tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "a.mp4")
    sink.open()
    sink.close()
    sink.close()
    assert list(tmp_path.iterdir()) == []


_CHILD = """
import os, resource, signal, sys
sys.path[:0] = {paths!r}
from dataclasses import replace
import numpy as np
from fakes import result
from headrace.stream.errors import SinkError
from headrace.stream.sinks.video import VideoSink

sink = VideoSink({path!r})
sink.open()
noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
try:
    for at in range({count}):
        for stream_id in {streams!r}:
            one = result(at, at / 25, stream_id=stream_id)
            sink.write(replace(one, drawn=np.roll(noise, 7 * at)) if {noisy} and stream_id == 'one' else one)
            if {limit} and at == 0:
                resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
    if {killed}:
        os.kill(os.getpid(), signal.SIGKILL)
except SinkError as error:
    print(error)
try:
    sink.close()
except SinkError as error:
    print(error)
"""


def in_child(
    path: Path,
    *,
    count: int,
    killed: bool = False,
    limit: int = 0,
    noisy: bool = False,
    streams: Sequence[str] = ("one",),
) -> subprocess.CompletedProcess[str]:
    code = _CHILD.format(
        paths=[entry for entry in sys.path if entry],
        path=str(path),
        count=count,
        killed=killed,
        limit=limit,
        noisy=noisy,
        streams=list(streams),
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)


def playable(path: Path) -> int:
    """How many pictures a player shows before the file breaks off."""
    count = 0
    with av.open(str(path)) as container:
        try:
            for _ in container.decode(video=0):
                count += 1
        except av.error.InvalidDataError:
            pass
    return count


def test_a_killed_run_leaves_a_video_that_plays(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    done = in_child(path, count=150, killed=True)
    assert done.returncode == -9, done.stderr
    count = playable(path)
    assert count >= 150 - 50, "at most two seconds of six are lost"
    assert [number_of(picture) for picture in pictures_of(path)][:count] == list(range(count))
    assert times_of(path)[:count] == pytest.approx(even_times(count), abs=TICK_S)


def test_a_full_disk_is_told_and_leaves_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    done = in_child(path, count=120, limit=600_000, noisy=True)
    assert done.returncode == 0, done.stderr
    first, *_ = done.stdout.splitlines()
    assert first == f"cannot write {path}: File too large; the video ends before its stream does"
    assert path.stat().st_size <= 600_000
    assert playable(path) >= 25


def test_one_file_that_fails_leaves_the_others_whole(tmp_path: Path) -> None:
    """When several files are closed each is finished, whatever became of the one before."""
    in_child(tmp_path / "a.mp4", count=120, limit=600_000, noisy=True, streams=["one", "two", "three"])
    for name in ("two", "three"):
        path = tmp_path / f"a-{name}.mp4"
        data = path.read_bytes()
        assert data.count(b"moof") == 0 or data.index(b"moov") > data.index(b"mdat"), "it was finished"
        assert len(pictures_of(path)) > 25
