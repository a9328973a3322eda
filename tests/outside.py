"""Networks from outside: an ONNX file with its description beside it, as a user would bring them."""

from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import tiny_models
import yaml

from headrace.models.spec import ModelSpec


def segmenter(folder: Path) -> str:
    """The path of `tiny_models.segmenter`, described."""
    return str(describe(tiny_models.segmenter(folder)))


def describe(spec: ModelSpec) -> Path:
    """Write the description of a network beside its file."""
    fields = asdict(spec)
    weights = {name: value for name, value in fields.pop("weights").items() if name != "file"}
    width, height = _frame_size(spec)
    fields.update(weights=weights, size=[width, height])
    text = {name: value for name, value in fields.items() if value is not None}
    file = spec.weights.file
    file.with_suffix(".yaml").write_text(yaml.safe_dump(_plain(text)), encoding="utf-8")
    return file


def pictures(folder: Path, count: int = 6) -> str:
    """A folder of small pictures, a source that costs nothing to read."""
    folder.mkdir()
    random = np.random.default_rng(3)
    for at in range(count):
        cv2.imwrite(str(folder / f"{at}.png"), random.integers(0, 256, (24, 32, 3), dtype=np.uint8))
    return str(folder)


def _frame_size(spec: ModelSpec) -> tuple[int, int]:
    _, height, width, _ = spec.inputs[0].shape
    assert width is not None, "a frame has a size"
    assert height is not None, "a frame has a size"
    return width, height


def _plain(value: object) -> object:
    """Tuples as lists, which YAML knows."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value
