"""Networks are read whole, or the file that is missing or broken is named."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason='onnx is not installed: pip install "headrace[onnx]"')

from graphs import FLOAT, network, node  # noqa: E402

from headrace.models.errors import BadGraphError  # noqa: E402
from headrace.models.graph import read  # noqa: E402


def saved(path: Path, *, beside: bool = False) -> Path:
    weights = {"w": np.arange(4096, dtype=np.float32)}
    model = network([node("Add", ["x", "w"], ["y"])], {"x": (FLOAT, ("B", 4096))}, {"y": (FLOAT, None)}, weights)
    if beside:
        onnx.save(model, path, save_as_external_data=True, location=f"{path.stem}.data", size_threshold=1024)
    else:
        onnx.save(model, path)
    return path


def test_weights_from_a_file_beside_it_are_brought_in(tmp_path: Path) -> None:
    inside = read.load(saved(tmp_path / "inside.onnx"))
    beside = saved(tmp_path / "beside.onnx", beside=True)
    assert read.load(beside).graph.initializer[0].raw_data == inside.graph.initializer[0].raw_data
    assert beside.stat().st_size < 1024
    alone = tmp_path / "elsewhere" / "alone.onnx"
    alone.parent.mkdir()
    alone.write_bytes(read.to_bytes(beside))
    assert read.load(alone).graph.initializer[0].raw_data == inside.graph.initializer[0].raw_data


def test_the_files_that_hold_weights_are_told(tmp_path: Path) -> None:
    assert read.data_files(saved(tmp_path / "inside.onnx")) == []
    assert read.data_files(saved(tmp_path / "beside.onnx", beside=True)) == [tmp_path / "beside.data"]


def test_missing_weights_are_named(tmp_path: Path) -> None:
    file = saved(tmp_path / "net.onnx", beside=True)
    (tmp_path / "net.data").unlink()
    with pytest.raises(BadGraphError, match=r"net\.onnx: .*'net\.data'"):
        read.load(file)


def test_weights_that_are_cut_off_are_told(tmp_path: Path) -> None:
    file = saved(tmp_path / "net.onnx", beside=True)
    (tmp_path / "net.data").write_bytes(b"short")
    with pytest.raises(BadGraphError, match=r"net\.onnx: its weights cannot be read"):
        read.load(file)


@pytest.mark.parametrize(
    ("content", "problem"),
    [(None, "no such file"), (b"no network", "not an ONNX network"), (b"", "has no operators")],
)
def test_a_file_that_is_no_network_is_named(tmp_path: Path, content: bytes | None, problem: str) -> None:
    file = tmp_path / "net.onnx"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(BadGraphError, match=problem) as failure:
        read.load(file)
    assert str(file) in str(failure.value)


def test_a_truncated_network_is_told(tmp_path: Path) -> None:
    file = saved(tmp_path / "net.onnx")
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(BadGraphError, match="not an ONNX network"):
        read.load(file)


def test_local_functions_are_inlined(tmp_path: Path) -> None:
    twice = onnx.helper.make_function(
        "mine", "Twice", ["a"], ["b"], [node("Add", ["a", "a"], ["b"])], [onnx.helper.make_opsetid("", 18)]
    )
    called = node("Twice", ["x"], ["y"], domain="mine")
    model = network([called], {"x": (FLOAT, (2,))}, {"y": (FLOAT, None)}, domains={"mine": 1})
    model.functions.append(twice)
    onnx.save(model, tmp_path / "net.onnx")
    read_back = read.load(tmp_path / "net.onnx")
    assert [each.op_type for each in read_back.graph.node] == ["Add"]
    assert not read_back.functions


def test_without_onnx_the_message_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['onnx'] = None\n"
        "from headrace.models.errors import MissingLibraryError\n"
        "try:\n    from headrace.models.graph import check\n"
        "except MissingLibraryError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert 'pip install "headrace[onnx]"' in done.stdout, done.stderr
