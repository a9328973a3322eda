"""What long commands say of themselves, and how Ctrl-C reaches a build."""

import os
import signal

import pytest

from headrace.tools.steps import BuildProgress, Interrupt, source_name, step


def test_a_step_is_a_line_with_its_time(capsys: pytest.CaptureFixture[str]) -> None:
    with step("fp16") as words:
        words += ["a.onnx", "2.7 MB"]
    out = capsys.readouterr().out
    assert out.startswith("fp16        a.onnx, 2.7 MB, ")
    assert out.endswith(" s\n")


def test_a_step_that_fails_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError), step("fp16"):
        raise RuntimeError
    assert capsys.readouterr().out == ""


def test_where_nobody_watches_each_phase_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    progress = BuildProgress()
    for done in range(3):
        progress("Timing tactics", done, 3)
    progress("Building", 0, 1)
    progress.end()
    assert capsys.readouterr().err == "  Timing tactics\n  Building\n"


def test_on_a_terminal_one_line_is_written_over(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    progress = BuildProgress()
    progress("Timing tactics", 1, 3)
    progress("Waiting", 0, 0)
    progress.end()
    err = capsys.readouterr().err
    assert "\r  Timing tactics 1/3\r  Waiting" in err
    assert "\n" not in err
    assert err.endswith("\r")


def test_ctrl_c_is_a_question_first_and_an_order_then() -> None:
    before = signal.getsignal(signal.SIGINT)
    asked = Interrupt()

    def press_twice() -> None:
        with asked:
            os.kill(os.getpid(), signal.SIGINT)
            assert asked()
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        press_twice()
    assert signal.getsignal(signal.SIGINT) is before


def test_a_ctrl_c_that_came_too_late_for_the_build_ends_the_command() -> None:
    with pytest.raises(KeyboardInterrupt), Interrupt():
        os.kill(os.getpid(), signal.SIGINT)


def test_passwords_of_sources_are_not_shown() -> None:
    assert source_name(None) == "the bundled scene"
    assert "secret" not in source_name("rtsp://me:secret@camera/1")
