"""The command: its help, its exit codes, its one-line errors, and what it does when nobody listens any more."""

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from headrace.engines.catalog import BACKENDS
from headrace.tools import cli

HEADRACE = [sys.executable, "-m", "headrace.tools.cli"]


def headrace(*arguments: str, **options: object) -> "subprocess.CompletedProcess[str]":
    """Run the command in a process of its own."""
    return subprocess.run([*HEADRACE, *arguments], capture_output=True, text=True, timeout=60, check=False, **options)  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["help"]])
def test_help_lists_every_command_in_a_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    for name, (_, text) in cli.COMMANDS.items():
        assert any(re.fullmatch(rf"  {name} +{re.escape(text)}", line) for line in lines)


def test_no_command_is_a_wrong_call_that_is_helped(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    assert "usage: headrace COMMAND" in capsys.readouterr().out


def test_an_unknown_command_is_a_wrong_call(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["dance"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [f"headrace: no command 'dance'; there are: {', '.join(cli.COMMANDS)}"]


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert re.fullmatch(r"headrace \d+\.\d+.*\n", capsys.readouterr().out)


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_help_with_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([name, "--help"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert f"usage: headrace {name}" in out
    assert "example" in out
    assert f"  headrace {name}" in out or f"example: headrace {name}" in out


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_an_unknown_option_is_a_wrong_call(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([name, "--no-such-option"])
    assert ended.value.code == 2
    assert f"headrace {name}" in capsys.readouterr().err


HEAVY = ("av", "cv2", "numpy", "openvino", "onnxruntime", "torch", "pygame")


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom headrace.tools.cli import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit:\n    pass\n"
        f"print(*[name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr.split() == []


class Fails:
    """A command that raises."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def main(self, argv: list[str]) -> int:
        raise self.error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ValueError("a bad value"), 2),
        (RuntimeError("it broke"), 1),
        (OSError("disk full"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_exit_codes(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "import_module", lambda name: Fails(error))
    assert cli.main(["run"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err == ("" if code == 130 else f"headrace run: {error}\n")


def test_ctrl_c_once_more_at_the_end_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    class Pressed(io.StringIO):
        def flush(self) -> None:
            raise KeyboardInterrupt

    monkeypatch.setattr(cli, "import_module", lambda name: Fails(KeyboardInterrupt()))
    monkeypatch.setattr(sys, "stdout", Pressed())
    assert cli.main(["run"]) == 130


def test_the_forms_of_an_engine_are_named_where_one_is_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["run", "--help"])
    out = " ".join(capsys.readouterr().out.split())
    forms = re.search(r"or a form of one, as (\S+) or (\S+); headrace doctor lists them", out)
    assert forms is not None
    assert set(forms.groups()) <= BACKENDS.keys()


def test_a_command_that_cannot_be_imported_is_told_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A library that does not load here, such as OpenCV's without libGL."""

    def fail(name: str) -> None:
        raise ImportError("libGL.so.1: cannot open shared object file")

    monkeypatch.setattr(cli, "import_module", fail)
    assert cli.main(["run"]) == 1
    assert capsys.readouterr().err == "headrace run: libGL.so.1: cannot open shared object file\n"


def test_debug_shows_where_a_failure_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "import_module", lambda name: Fails(RuntimeError("it broke")))
    with pytest.raises(RuntimeError, match="it broke"):
        cli.main(["run", "--debug"])


@pytest.mark.parametrize("arguments", [["models"], ["--help"], ["run", "--help"]])
def test_a_reader_that_has_gone_is_no_error(arguments: list[str]) -> None:
    """`headrace models | head -0`: no traceback, and no complaint of the interpreter at its exit."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stdout:
        done = subprocess.run(
            [*HEADRACE, *arguments], stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    assert done.stderr == ""
    assert done.returncode in (0, 1)


def test_it_runs_as_a_module_and_from_anywhere(tmp_path: Path) -> None:
    done = headrace("models", cwd=tmp_path)
    assert done.returncode == 0
    assert "street" in done.stdout
    assert done.stderr == ""
