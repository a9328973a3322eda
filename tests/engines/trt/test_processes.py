"""A build that is killed, and builds of one plan by two processes at once."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from contracts import in_threads
from trt_bench import Bench

from headrace.models.spec import ModelSpec

TESTS = Path(__file__).parents[2]
BUILDER = """
import sys
from pathlib import Path
import tiny_models
from tensorrt.machine import machine
from headrace.engines.trt.engine import TensorRtEngine

def told(phase, step, steps):
    print(phase, step, steps, flush=True)

with TensorRtEngine(tiny_models.segmenter(Path(sys.argv[1])), progress=told) as engine:
    print("opened with", machine.builds, "builds,", engine.notes, flush=True)
"""


class Builder:
    """A process that opens the engine, and so builds its plan."""

    def __init__(self, folder: Path, hold: Path | None = None, *, before: Sequence[str] = ()) -> None:
        folder.mkdir()
        held = {} if hold is None else {"DOUBLE_TRT_HOLD": str(hold)}
        paths = [str(TESTS), str(TESTS / "doubles"), *filter(None, [os.environ.get("PYTHONPATH")])]
        self.process = subprocess.Popen(
            [*before, sys.executable, "-W", "error", "-c", BUILDER, str(folder)],
            env={**os.environ, **held, "PYTHONPATH": os.pathsep.join(paths)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def read_until(self, said: str = "", *, there: Path | None = None) -> str:
        """Read what it tells up to a line that has `said`, or until a file is there; the last line."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if (there is not None and there.exists()) or (said and said in line):
                return line.strip()
        raise AssertionError(f"it ended: {self.process.communicate()}")

    def end(self) -> str:
        """The last line of a process that ends well."""
        out, err = self.process.communicate(timeout=60)
        assert (self.process.returncode, err) == (0, "")
        return str(out.splitlines()[-1])


@pytest.fixture
def hold(tmp_path: Path) -> Path:
    """A folder through which the double's build is held."""
    folder = tmp_path / "hold"
    folder.mkdir()
    return folder


def test_a_killed_build_leaves_nothing_and_stops_nobody(bench: Bench, tmp_path: Path, hold: Path) -> None:
    first = Builder(tmp_path / "first", hold)
    first.read_until(there=hold / "arrived")
    first.process.kill()
    first.process.communicate()
    assert bench.kept() == []
    second = Builder(tmp_path / "second")
    last = second.end()
    assert last == "opened with 1 builds, []"
    print(f"\nkilled in mid-build\n    left behind: nothing; the next process: {last}")
    assert [path.suffix for path in bench.kept()] == [".json", ".plan", ".cache"]


def test_two_processes_build_a_plan_once(bench: Bench, tmp_path: Path, hold: Path) -> None:
    first = Builder(tmp_path / "first", hold)
    first.read_until(there=hold / "arrived")
    second = Builder(tmp_path / "second")
    told = second.read_until("another process builds this plan; waiting")
    assert bench.kept() == []
    (hold / "released").touch()
    assert first.end() == "opened with 1 builds, []"
    last = second.end()
    assert last == "opened with 0 builds, []"
    print(f"\ntwo builds at once\n    the second is told: {told}; then: {last}")
    assert len(bench.kept(".plan")) == 1


def test_two_threads_build_a_plan_once(bench: Bench, segmenter: ModelSpec) -> None:
    in_threads([lambda: bench.open(segmenter).close()] * 3)
    assert bench.machine.builds == 1


@pytest.mark.parametrize("room", ["4k", "0"])
def test_a_disk_that_is_really_full(bench: Bench, tmp_path: Path, room: str) -> None:
    """A file system of one page, on which a plan has room and its card has none; and one without any room."""
    bench.plans.mkdir(parents=True)
    blocks = f"nr_blocks={1 if room == '4k' else 2}"
    mount = f"mount -t tmpfs -o {blocks} none {bench.plans}"
    fill = "" if room == "4k" else f"; head -c 8192 /dev/zero > {bench.plans}/fill"
    inside = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    if shutil.which("unshare") is None or subprocess.run([*inside, mount], capture_output=True).returncode:
        pytest.skip("a file system of one's own cannot be made here")
    builder = Builder(tmp_path / "only", before=[*inside, f'{mount}{fill}; "$@"; ls -A {bench.plans}', "sh"])
    out, err = builder.process.communicate(timeout=60)
    assert "CacheError" in err
    assert "the disk is full" in err.splitlines()[-1]
    assert [line for line in out.splitlines() if line.endswith((".plan", ".json", ".draft"))] == []
    assert ("Building Engine" in out) == (room == "4k")
    print(f"\nfull disk, {room}\n    {err.splitlines()[-1]}")
