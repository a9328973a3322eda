"""The way from a fresh machine to an environment, with a package manager and a Python that only play their parts."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

MAKEFILE = Path(__file__).parents[1] / "Makefile"
PROGRAMS = {
    # Makes environments only once python3-venv is there.
    "python3": """case "$*" in
        "-m venv "*) [ -e "$STATE/installed" ] && mkdir -p "$3/bin" && touch "$3/bin/python" ;;
    esac""",
    # Installs nothing without its lists, as in a fresh image; and nothing for who is not root.
    "apt-get": """echo "$1" >> "$STATE/calls"
        [ "$(id -u)" = 0 ] || exit 100
        case "$1" in
            update) touch "$STATE/lists" ;;
            install) [ -e "$STATE/lists" ] && touch "$STATE/installed" ;;
        esac""",
    "id": """if [ -e "$STATE/is_root" ]; then echo 0; else echo 1000; fi""",
    "sudo": """[ -e "$STATE/sudoer" ] && [ "$1" = -n ] && touch "$STATE/is_root" && shift && exec "$@" """,
}


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    (tmp_path / "bin").mkdir()
    for name, script in PROGRAMS.items():
        path = tmp_path / "bin" / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
    return tmp_path


def make(machine: Path) -> "subprocess.CompletedProcess[str]":
    path = f"{machine / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["make", "-f", str(MAKEFILE), ".venv/bin/python"],
        cwd=machine,
        env={"PATH": path, "STATE": str(machine)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("who", ["is_root", "sudoer"])
def test_python3_venv_is_installed_where_there_are_no_package_lists_yet(machine: Path, who: str) -> None:
    (machine / who).touch()
    done = make(machine)
    assert done.returncode == 0, done.stderr
    assert (machine / ".venv/bin/python").exists()
    assert (machine / "calls").read_text().split() == ["update", "install"]


def test_who_may_not_install_is_told_the_line(machine: Path) -> None:
    done = make(machine)
    assert done.returncode != 0
    assert "run: sudo apt-get update && sudo apt-get install python3-venv" in done.stdout
