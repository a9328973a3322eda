"""`headrace eval`: what a network scores on a labelled data set, in the columns of the field."""

import argparse
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from headrace.engines import Engine, open_engine
from headrace.models.catalog import spec as spec_of
from headrace.models.segment.metrics import Scores, confusion, scores
from headrace.models.spec import ModelSpec
from headrace.stream.scene.world import CLASS_NAMES
from headrace.tools.train.camvid import list_pairs, read_pair
from headrace.tools.train.scene_cache import draw_world

SCENE = "scene:"
"""The data set that is drawn on the spot."""
HELD_BACK_SEED = 900_000
SCENE_STREETS, SCENE_VIEWS = 20, 3

U8 = NDArray[np.uint8]


def main(argv: list[str]) -> int:
    """Evaluate and print; returns the exit code. What fails is raised."""
    given, _ = _parser().parse_known_args(argv)
    model = spec_of(given.model)
    if model.task == "action":
        from headrace.tools.evaluate_actions import main as evaluate_actions

        return int(evaluate_actions(argv))
    given = _parser().parse_args(argv)
    what, pairs = open_dataset(model, given.dataset, given.split)
    with open_engine(model, engine=given.engine, precision=given.precision, sessions=1) as engine:
        matrix = evaluate(engine, pairs)
        ran = f"{engine.info.backend} {engine.info.version}, {engine.info.precision}"
    print(f"{model.name} on {what}, {ran}")
    print("\n".join(table(scores(matrix), matrix, model.labels)))
    return 0


def open_dataset(model: ModelSpec, name: str, split: str) -> tuple[str, Iterator[tuple[U8, U8]]]:
    """What the data set is, and its pairs for `evaluate`, read as they are asked for.

    Raises:
        ValueError: it is not there, or its classes are not the network's.
    """
    if name == SCENE:
        check_classes(model, SCENE, CLASS_NAMES)
        seeds = range(HELD_BACK_SEED, HELD_BACK_SEED + SCENE_STREETS)
        what = f"{SCENE_STREETS} streets of the scene that no training saw: {SCENE_STREETS * SCENE_VIEWS} pictures"
        return what, (pair for seed in seeds for pair in zip(*draw_world(seed, SCENE_VIEWS), strict=True))
    folder = Path(name)
    pairs = list_pairs(folder, split)
    stated = folder / "classes.json"
    if stated.is_file():
        classes = json.loads(stated.read_text(encoding="utf-8"))["classes"]
        check_classes(model, str(stated), tuple(each for each in classes if each != "void"))
    return f"{folder.name} {split}: {len(pairs)} pictures", (read_pair(*pair) for pair in pairs)


def evaluate(engine: Engine, pairs: Iterable[tuple[U8, U8]]) -> NDArray[np.int64]:
    """Confusion matrix (classes, classes) over (picture RGB (H, W, 3), labels (H, W), 255 = ignore).

    Each picture is scaled to the network's size; the class map is scaled (nearest) to the labels' size.
    """
    model = engine.spec
    classes = len(model.labels)
    matrix = np.zeros((classes, classes), np.int64)
    with engine.session() as session:
        for image, label in pairs:
            frame = image if _size(image) == model.size else cv2.resize(image, model.size)
            mask = session.infer({engine.inputs[0].name: frame[None]})[engine.outputs[0].name][0]
            found = cv2.resize(mask, _size(label), interpolation=cv2.INTER_NEAREST)
            matrix += confusion(label, found.astype(np.uint8), classes)
    return matrix


def check_classes(model: ModelSpec, where: str, theirs: tuple[str, ...]) -> None:
    """`ValueError` if a data set's classes are not the network's."""
    if theirs != model.labels:
        known = ", ".join(model.labels)
        raise ValueError(f"{where}: classes {', '.join(theirs)}, but {model.name} knows {known}")


def table(found: Scores, matrix: NDArray[np.int64], labels: tuple[str, ...]) -> Iterator[str]:
    """Lines: the four figures, then each class with its IoU, its recall and its share of the pixels."""
    yield "pixel acc.  mean acc.  mean IU  f.w. IU"
    yield (
        f"{found.pixel_accuracy:10.4f}  {found.mean_accuracy:9.4f}  {found.mean_iou:7.4f}  {found.weighted_iou:7.4f}"
    )
    yield ""
    yield f"{'class':<12} {'IoU':>6}  recall  pixels"
    true = matrix.sum(1)
    for at, label in enumerate(labels):
        recall = matrix[at, at] / true[at] if true[at] else float("nan")
        yield f"{label:<12} {found.iou[at]:6.3f}  {recall:6.3f}  {true[at] / true.sum():6.1%}"


def _size(picture: U8) -> tuple[int, int]:
    return picture.shape[1], picture.shape[0]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="headrace eval",
        description="Accuracy of a network on a labelled data set.",
        epilog="example: headrace eval street CamVid",
    )
    parser.add_argument("model", help="a network's name or PATH.onnx")
    parser.add_argument("dataset", help="its folder (SPLIT/images and SPLIT/labels inside), or scene:")
    parser.add_argument("--engine", default="auto", help="auto, tensorrt, openvino, onnxruntime, torch")
    parser.add_argument("--precision", default="fp32", help="%(default)s; or auto, fp16, bf16, int8")
    parser.add_argument("--split", default="val", help="which part of the data set (default: val)")
    parser.add_argument("--debug", action="store_true", help="show where in the code a failure comes from")
    return parser
