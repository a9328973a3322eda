"""`headrace run`: its options, its configuration file, its outputs and its exit codes."""

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import tiny_models
from media import even_times, number_of, numbered, pictures_of, times_of, write_video

from headrace.tools import cli
from headrace.tools.run import parse

NO_NETWORKS = ["--segment", "none", "--action", "none", "--show", "none"]
HEADRACE_RUN = [sys.executable, "-m", "headrace.tools.cli", "run"]
TICK_S = 1 / 90_000


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 30 pictures with a variable rate that begins at 2 s."""
    times = [2.0 + at / 25 + (0.013 if at % 3 == 1 else 0.0) for at in range(30)]
    return write_video(tmp_path_factory.mktemp("clip") / "clip.mp4", times_s=times, size=(160, 120), b_frames=2)


def records_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


# The work


def test_a_file_to_a_video_and_records(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    video, records = tmp_path / "a.mp4", tmp_path / "a.jsonl"
    assert cli.main(["run", str(clip), *NO_NETWORKS, "--save", str(video), "--jsonl", str(records)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "clip.mp4: captured 30 = rendered 30 + dropped 0 + in flight 0" in out
    *frames, ledger = records_of(records)
    assert [frame["seq"] for frame in frames] == list(range(30))
    assert times_of(video) == pytest.approx(times_of(clip), abs=TICK_S)
    assert [frame["pts_s"] for frame in frames] == pytest.approx(times_of(clip), abs=1e-6)
    assert ledger["rendered"] == ledger["captured"] == 30
    assert len(pictures_of(video)) == 30


def test_a_network_of_one_s_own(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = tiny_models.segmenter(tmp_path)
    (tmp_path / "segmenter.yaml").write_text(_yaml_of(spec.labels))
    records = tmp_path / "a.jsonl"
    network = str(tmp_path / "segmenter.onnx")
    arguments = ["--segment", network, "--action", "none", "--show", "none", "--frames", "5"]
    assert cli.main(["run", str(clip), *arguments, "--jsonl", str(records)]) == 0
    capsys.readouterr()
    *frames, _ = records_of(records)
    assert len(frames) == 5
    for frame in frames:
        assert frame["segment"]["model"] == "segmenter"
        assert sum(frame["segment"]["share"].values()) == pytest.approx(1.0, abs=0.001)
        assert {"decode", "convert", "segment", "render"} == set(frame["stage_ms"])


def _yaml_of(labels: tuple[str, ...]) -> str:
    return f"""
name: segmenter
task: segment
summary: made for a test
paper: none
year: 2026
parameters: 0
size: [16, 12]
inputs: [{{name: frame, shape: [null, 12, 16, 3], dtype: uint8, layout: BHWC}}]
outputs: [{{name: mask, shape: [null, 12, 16], dtype: uint8, layout: BHW}}]
labels: {list(labels)}
weights: {{licence: Apache-2.0, trained_on: nothing, recipe: none, score: none}}
"""


def test_records_on_standard_output_are_nothing_but_records(clip: Path) -> None:
    done = subprocess.run(
        [*HEADRACE_RUN, str(clip), *NO_NETWORKS, "--jsonl", "-"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    kinds = [json.loads(line)["type"] for line in done.stdout.splitlines()]
    assert kinds == ["frame"] * 30 + ["ledger"]
    assert "captured 30 = rendered 30" in done.stderr


def test_quiet_says_nothing(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", str(clip), *NO_NETWORKS, "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_which_engine_runs_and_why_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    scenes = ["scene:street?size=160x120&seconds=0.2", "scene:street?size=160x120&seconds=0.2&seed=2"]
    command = ["run", *scenes, "--segment", "street", "--action", "none", "--show", "none"]
    assert cli.main(command) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("street: ")]
    assert [line for line in lines if "openvino" in line] == lines[:1]
    assert cli.main([*command, "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("option", "value", "count"), [("--frames", "7", 7), ("--seconds", "0.4", 10)])
def test_limits(
    clip: Path, tmp_path: Path, option: str, value: str, count: int, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_video(tmp_path / "even.mp4", times_s=even_times(40, start_s=3.0))
    assert cli.main(["run", str(path), *NO_NETWORKS, option, value]) == 0
    assert f"rendered {count} + " in capsys.readouterr().out


def test_a_folder_of_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import cv2

    for at in range(4):
        cv2.imwrite(str(tmp_path / f"{at}.png"), numbered(at))
    assert cli.main(["run", str(tmp_path), *NO_NETWORKS]) == 0
    assert "captured 4 = rendered 4" in capsys.readouterr().out


def test_several_sources_side_by_side(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = tmp_path / "a.jsonl"
    sources = [str(clip), str(clip), "scene:street?size=160x120&seconds=0.4"]
    assert cli.main(["run", *sources, *NO_NETWORKS, "--jsonl", str(records)]) == 0
    assert capsys.readouterr().out.count(" = rendered ") == 3
    ledgers = {line["stream"]: line["rendered"] for line in records_of(records) if line["type"] == "ledger"}
    assert ledgers == {"clip.mp4": 30, "clip.mp4-2": 30, "scene:street": 10}


# What goes wrong


def lines_of_failure(arguments: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> str:
    """Run it; it must end with this code and one or two lines."""
    try:
        ended = cli.main(["run", *arguments])
    except SystemExit as error:
        ended = int(str(error.code))
    err = capsys.readouterr().err
    assert ended == code, err
    assert "Traceback" not in err
    told = [line for line in err.splitlines() if "error: " in line or line.startswith("headrace run: ")]
    assert 1 <= len(told) <= 2, err
    return "\n".join(told)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nowhere.mp4"], 1, "nowhere.mp4: no such file"),
        (["gopher://host/1"], 2, "gopher:// is no source; allowed: "),
        (["scene:street?colour=red"], 2, "option 'colour' is not known"),
        (["a.mp4", "--segment", "none such"], 2, "network 'none such' is not known; there are: "),
        (["a.mp4", "--action", "street"], 2, "street is a network for segment, not for action"),
        (["a.mp4", "--segment", "nowhere.onnx"], 2, "nowhere.onnx': no such file"),
        (["a.mp4", "--show", "window"], 2, "--show window: there is no display"),
        (["a.mp4", "--frames", "0"], 2, "'0' is not a whole number above 0"),
        (["a.mp4", "--frames", "2.5"], 2, "'2.5' is not a whole number above 0"),
        (["a.mp4", "--seconds", "-1"], 2, "'-1' is not a number above 0"),
        (["a.mp4", "--seconds", "nan"], 2, "'nan' is not a number above 0"),
        (["a.mp4", "--seconds", "inf"], 2, "'inf' is not a number above 0"),
        (["a.mp4", "--camera-fps", "nan"], 2, "'nan' is not a number above 0"),
        (["a.mp4", "--camera-fps", "0"], 2, "'0' is not a number above 0"),
        (["a.mp4", "--seconds", "soon"], 2, "'soon' is not a number above 0"),
        (["a.mp4", "--camera-size", "large"], 2, "'large' is not a size such as 1280x720"),
        (["a.mp4", "--camera-size", "0x0"], 2, "'0x0' is not a size such as 1280x720"),
        (["a.mp4", "--keep", "some"], 2, "invalid choice: 'some'"),
        (["a.mp4", "--engine", "steam"], 2, "steam"),
        ([], 2, "required: SOURCE"),
        ([""], 2, "an empty source"),
    ],
)
def test_what_goes_wrong_is_one_clear_line(
    arguments: list[str],
    code: int,
    message: str,
    clip: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    arguments = [str(clip) if argument == "a.mp4" else argument for argument in arguments]
    if "--engine" not in arguments:
        arguments += [] if "--segment" in arguments else ["--segment", "none"]
    arguments += [] if "--action" in arguments else ["--action", "none"]
    arguments += [] if "--show" in arguments else ["--show", "none"]
    assert message in lines_of_failure(arguments, code, capsys)


def test_a_file_that_is_no_video(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.mp4"
    path.write_text("not a video")
    assert f"{path}: not a video" in lines_of_failure([str(path), *NO_NETWORKS], 1, capsys)


def test_one_of_several_fails_and_the_others_are_done(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", "nowhere.mp4", str(clip), *NO_NETWORKS]) == 1
    out, err = capsys.readouterr()
    assert "clip.mp4: captured 30 = rendered 30" in out
    assert err.splitlines() == ["headrace run: nowhere.mp4: no such file"]


def test_a_full_disk_is_told_and_the_rest_goes_on(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    video = tmp_path / "a.mp4"
    assert cli.main(["run", str(clip), *NO_NETWORKS, "--jsonl", "/dev/full", "--save", str(video)]) == 1
    out, err = capsys.readouterr()
    assert "rendered 30" in out
    assert err.splitlines() == ["cannot write /dev/full: No space left on device; its last line may be cut"]
    assert len(pictures_of(video)) == 30


_WITH_SMALL_FILES = """
import resource, sys
from headrace.tools.cli import main
limit = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
sys.exit(main(["run", *sys.argv[2:]]))
"""


def test_a_disk_too_small_for_the_video_is_told_and_the_records_go_on(tmp_path: Path) -> None:
    video, records = tmp_path / "a.mp4", tmp_path / "a.jsonl"
    source = "scene:street?size=640x360&seconds=6"
    limit, outputs = 150_000, ["--save", str(video), "--jsonl", str(records)]
    done = subprocess.run(
        [sys.executable, "-c", _WITH_SMALL_FILES, str(limit), source, *NO_NETWORKS, *outputs],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"cannot write {video}: File too large; the video ends before its stream does"
    ]
    *frames, ledger = records_of(records)
    assert len(frames) == ledger["rendered"] == 150
    assert video.stat().st_size <= limit


def test_a_new_size_in_mid_stream(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = write_video(tmp_path / "small.h264", times_s=even_times(10), size=(64, 48))
    large = write_video(tmp_path / "large.h264", times_s=even_times(10), size=(128, 96), first_number=10)
    both, video, records = tmp_path / "both.h264", tmp_path / "a.mp4", tmp_path / "a.jsonl"
    both.write_bytes(small.read_bytes() + large.read_bytes())
    assert cli.main(["run", str(both), *NO_NETWORKS, "--save", str(video), "--jsonl", str(records)]) == 0
    assert "frames without a time stamp: counted at 25 fps" in capsys.readouterr().err
    assert [number_of(picture) for picture in pictures_of(video)] == list(range(20))
    assert times_of(video) == pytest.approx([line["pts_s"] for line in records_of(records)[:-1]], abs=TICK_S)


@pytest.mark.parametrize("size", [(63, 47), (65, 33)])
def test_odd_sizes(size: tuple[int, int], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_video(tmp_path / "odd.mp4", times_s=even_times(5), size=size, pix_fmt="yuv444p")
    video = tmp_path / "a.mp4"
    assert cli.main(["run", str(path), *NO_NETWORKS, "--save", str(video)]) == 0
    assert "captured 5 = rendered 5" in capsys.readouterr().out
    assert [number_of(picture[: size[1], : size[0]]) for picture in pictures_of(video)] == list(range(5))


def test_a_folder_that_is_not_there_is_told(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    video = tmp_path / "nowhere" / "a.mp4"
    assert cli.main(["run", str(clip), *NO_NETWORKS, "--save", str(video)]) == 2
    assert f"the folder {video.parent} does not exist" in capsys.readouterr().err


def test_when_no_output_is_left_the_run_ends(clip: Path) -> None:
    """`headrace run camera --jsonl - | head -1` does not run on for nobody."""
    run = subprocess.Popen(
        [*HEADRACE_RUN, str(clip), *NO_NETWORKS, "--loop", "--pace", "live", "--jsonl", "-"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert run.stdout is not None
    assert run.stderr is not None
    with run.stderr:
        try:
            assert json.loads(run.stdout.readline())["seq"] == 0
            run.stdout.close()
            assert run.wait(60) == 1
        finally:
            run.kill()
            run.wait()
        err = run.stderr.read()
    assert "Traceback" not in err
    assert "Exception ignored" not in err
    assert "cannot write standard output: Broken pipe" in err


def test_debug_shows_where_a_failure_comes_from(capsys: pytest.CaptureFixture[str]) -> None:
    from headrace.stream import PipelineError

    with pytest.raises(PipelineError, match=r"nowhere\.mp4: no such file"):
        cli.main(["run", "nowhere.mp4", *NO_NETWORKS, "--debug"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_cleanly(clip: Path, tmp_path: Path, number: signal.Signals) -> None:
    records = tmp_path / "a.jsonl"
    run = subprocess.Popen(
        [*HEADRACE_RUN, str(clip), *NO_NETWORKS, "--loop", "--pace", "live", "--jsonl", str(records)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    event = threading.Event()
    while run.poll() is None and not (records.exists() and records.stat().st_size):
        event.wait(0.01)
    run.send_signal(number)
    out, err = run.communicate(timeout=60)
    assert run.returncode == 130, err
    assert err == ""
    assert "captured" in out
    assert records_of(records)[-1]["type"] == "ledger"


def test_signals_are_left_as_they_were(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    cli.main(["run", str(clip), *NO_NETWORKS, "--frames", "1"])
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


# The configuration file


def test_a_file_gives_options_and_the_command_line_wins(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(
        "sources: [a.mp4, 0]\nsegment: none\nkeep: latest\nframes: 5\nseconds: 2.5\nloop: true\n"
        "camera-size: 640x480\nsave: out.mp4\n"
    )
    options = parse(["--config", str(path), "--frames", "9"])
    assert options.sources == ["a.mp4", "0"]
    assert (options.segment, options.keep, options.frames, options.seconds) == ("none", "latest", 9, 2.5)
    assert (options.loop, options.camera_size, options.save) == (True, (640, 480), Path("out.mp4"))
    assert parse(["b.mp4", "--config", str(path)]).sources == ["b.mp4"]
    assert parse(["b.mp4", f"--config={path}", "--keep", "every"]).keep == "every"


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("")
    given, plain = vars(parse(["a.mp4", "--config", str(path)])), vars(parse(["a.mp4"]))
    assert {**given, "config": None} == plain


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("speed: 9", "no option speed; there are: "),
        ("frames: many", "frames='many': 'many' is not a whole number above 0"),
        ("seconds: 0", "seconds=0: '0' is not a number above 0"),
        ("keep: some", "keep='some': not one of auto, latest, every"),
        ("loop: maybe", "loop='maybe': not true or false"),
        ("segment: [a, b]", "segment=['a', 'b']: not one word"),
        ("- a\n- b", "expected options, found list"),
        ("sources: [", "not YAML"),
    ],
)
def test_what_is_wrong_in_the_file_is_named(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    told = lines_of_failure(["a.mp4", "--config", str(path)], 2, capsys)
    assert str(path) in told
    assert message in told


def test_a_file_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    told = lines_of_failure(["a.mp4", "--config", "nowhere.yaml"], 2, capsys)
    assert "nowhere.yaml" in told
    assert "No such file" in told


def test_the_options_of_the_contract_are_there() -> None:
    options = vars(parse(["a.mp4"]))
    wanted = (
        "segment action streams engine precision keep pace show save jsonl frames seconds config loop quiet debug"
    )
    assert set(wanted.split()) <= set(options)
    assert (options["keep"], options["pace"], options["show"], options["engine"]) == ("auto", "none", "auto", "auto")
