"""`headrace eval` on a network and a data set whose every pixel is known."""

import json
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import yaml
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from headrace.tools import cli

LABELS = ["sky", "road", "car"]


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """Its class map is the red channel of every second pixel: what it finds can be painted."""
    constants = {"from": [0, 0, 0], "to": [8, 12, 1], "axes": [1, 2, 3], "steps": [2, 2, 1], "red": [3]}
    nodes = [
        helper.make_node("Cast", ["frame"], ["x"], to=TensorProto.FLOAT),
        helper.make_node("Slice", ["x", "from", "to", "axes", "steps"], ["y"]),
        helper.make_node("Squeeze", ["y", "red"], ["z"]),
        helper.make_node("Cast", ["z"], ["mask"], to=TensorProto.UINT8),
    ]
    graph = helper.make_graph(
        nodes,
        "painted",
        [helper.make_tensor_value_info("frame", TensorProto.UINT8, ["batch", 8, 12, 3])],
        [helper.make_tensor_value_info("mask", TensorProto.UINT8, ["batch", 4, 6])],
        [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in constants.items()],
    )
    file = tmp_path / "painted.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), file)
    description = {
        "name": "painted",
        "task": "segment",
        "summary": "finds what is painted",
        "paper": "none",
        "year": 2026,
        "parameters": 0,
        "size": [12, 8],
        "inputs": [{"name": "frame", "shape": [None, 8, 12, 3], "dtype": "uint8", "layout": "BHWC"}],
        "outputs": [{"name": "mask", "shape": [None, 4, 6], "dtype": "uint8", "layout": "BHW"}],
        "labels": LABELS,
        "weights": {"licence": "none", "trained_on": "nothing", "recipe": "none", "score": "none"},
    }
    file.with_suffix(".yaml").write_text(yaml.safe_dump(description))
    return file


def write_dataset(folder: Path, found: NDArray[np.uint8], truth: NDArray[np.uint8]) -> Path:
    """One picture in the validation split, painted with what is to be found."""
    for part in ("images", "labels"):
        (folder / "val" / part).mkdir(parents=True)
    bgr = np.zeros((*found.shape, 3), np.uint8)
    bgr[:, :, 2] = found
    cv2.imwrite(str(folder / "val/images/one.png"), bgr)
    cv2.imwrite(str(folder / "val/labels/one.png"), truth)
    (folder / "classes.json").write_text(json.dumps({"classes": [*LABELS, "void"]}))
    return folder


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    truth = np.zeros((8, 12), np.uint8)
    truth[4:] = 1
    truth[6:, 8:] = 2
    truth[:2] = 11  # void: counts nowhere
    found = np.where(truth == 11, 2, truth).astype(np.uint8)
    found[4:6, 8:] = 2  # 8 road pixels are taken for a car
    return write_dataset(tmp_path / "made", found, truth)


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_the_figures_are_right(network: Path, dataset: Path, engine: str, capsys: pytest.CaptureFixture[str]) -> None:
    if engine == "onnxruntime":
        pytest.importorskip("onnxruntime")
    assert cli.main(["eval", str(network), str(dataset), "--engine", engine]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"painted on made val: 1 pictures, {engine} ")
    sky, road, car = 24, 40, 8  # true pixels; of the road, 32 are found
    iou = (1.0, 32 / 40, 8 / 16)
    accuracy = (1.0, 32 / 40, 1.0)
    total = sky + road + car
    figures = [
        (total - 8) / total,
        sum(accuracy) / 3,
        sum(iou) / 3,
        (sky * iou[0] + road * iou[1] + car * iou[2]) / total,
    ]
    assert lines[1].split("  ") == ["pixel acc.", "mean acc.", "mean IU", "f.w. IU"]
    assert [float(each) for each in lines[2].split()] == pytest.approx(figures, abs=5e-5)
    rows = {line.split()[0]: line.split()[1:] for line in lines[5:]}
    assert rows["road"] == ["0.800", "0.800", "55.6%"]
    assert rows["car"] == ["0.500", "1.000", "11.1%"]


def test_pictures_of_another_size_are_scaled(
    network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = np.ones((80, 120), np.uint8)
    assert cli.main(["eval", str(network), str(write_dataset(tmp_path / "large", truth, truth))]) == 0
    assert capsys.readouterr().out.splitlines()[2].split()[0] == "1.0000"


def test_a_missing_data_set_is_the_callers_mistake(
    network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["eval", str(network), str(tmp_path / "absent")]) == 2
    assert "absent" in capsys.readouterr().err


def test_debug_shows_where_a_failure_comes_from(network: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="absent"):
        cli.main(["eval", str(network), str(tmp_path / "absent"), "--debug"])


def test_an_unknown_network_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["eval", "nonesuch", str(tmp_path)]) == 2
    assert "'nonesuch'" in capsys.readouterr().err


def test_other_classes_are_refused(network: Path, dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (dataset / "classes.json").write_text(json.dumps({"classes": ["sky", "sea"]}))
    assert cli.main(["eval", str(network), str(dataset)]) == 2
    assert "sky, sea" in capsys.readouterr().err


def test_the_scene_has_classes_too(network: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["eval", str(network), "scene:"]) == 2
    assert "scene:: classes sky, building" in capsys.readouterr().err


def test_a_strange_label_is_refused(network: Path, dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cv2.imwrite(str(dataset / "val/labels/one.png"), np.full((8, 12), 77, np.uint8))
    assert cli.main(["eval", str(network), str(dataset)]) == 2
    error = capsys.readouterr().err
    assert "one.png" in error
    assert "77" in error


def test_a_broken_picture_is_named(network: Path, dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (dataset / "val/images/one.png").write_bytes(b"not a picture")
    assert cli.main(["eval", str(network), str(dataset)]) == 2
    assert "one.png: not a readable picture" in capsys.readouterr().err


def test_a_label_of_another_size_is_refused(network: Path, dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cv2.imwrite(str(dataset / "val/labels/one.png"), np.zeros((4, 6), np.uint8))
    assert cli.main(["eval", str(network), str(dataset)]) == 2
    assert "(4, 6)" in capsys.readouterr().err


def test_the_bundled_network_keeps_its_promise(shared_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every tenth validation picture of CamVid: enough to notice broken weights."""
    from headrace.engines import open_engine
    from headrace.models.segment.metrics import scores
    from headrace.tools.evaluate import evaluate
    from headrace.tools.train.camvid import list_pairs, read_pair

    pairs = list_pairs(shared_data / "segmentation" / "camvid", "val")[::10]
    with open_engine("street", sessions=1) as engine:
        found = scores(evaluate(engine, (read_pair(*pair) for pair in pairs)))
    assert found.mean_iou >= 0.5
