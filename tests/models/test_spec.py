"""Descriptions of networks that cannot be read are told in a line."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from headrace.models.errors import BadSpecError
from headrace.models.spec import spec_from_yaml


@pytest.mark.parametrize("damage", [b"name: a\nkind: ? b\n  c: [", b"name: \xff\xfe"], ids=["syntax", "bytes"])
def test_what_is_no_yaml_is_one_line_with_the_file(damage: bytes, tmp_path: Path) -> None:
    path = tmp_path / "net.yaml"
    path.write_bytes(damage)
    with pytest.raises(BadSpecError) as caught:
        spec_from_yaml(path)
    assert str(caught.value).startswith(f"{path}: not YAML: ")
    assert "\n" not in str(caught.value)


def described(path: Path, **changed: Any) -> Path:
    """The least that a network from outside must say of itself; what is changed to None is left out."""
    tensor = {"name": "frame", "shape": [None, 4, 6, 3], "dtype": "uint8", "layout": "BHWC"}
    fields: dict[str, Any] = {
        "name": "net",
        "task": "segment",
        "summary": "a network from outside",
        "size": [6, 4],
        "inputs": [tensor],
        "outputs": [{"name": "mask", "shape": [None, 4, 6], "dtype": "uint8", "layout": "BHW"}],
        "labels": ["road", "sky"],
        "weights": {"licence": "MIT", "trained_on": "mine", "recipe": "mine", "score": "none"},
    }
    fields.update(changed)
    path.write_text(yaml.safe_dump({name: value for name, value in fields.items() if value is not None}))
    return path


def test_what_need_not_be_stated_of_a_network_from_outside(tmp_path: Path) -> None:
    spec = spec_from_yaml(described(tmp_path / "net.yaml"))
    assert (spec.paper, spec.year, spec.parameters, spec.clip) == ("", 0, 0, None)
    assert spec.weights.file == tmp_path / "net.onnx"


@pytest.mark.parametrize(
    ("changed", "missing"),
    [
        ({"summary": None, "size": None, "labels": None}, "summary, size, labels"),
        ({"inputs": [{"name": "frame", "layout": "BHWC"}]}, "inputs[0].shape, inputs[0].dtype"),
        (
            {"name": None, "outputs": None, "weights": {"licence": "MIT", "score": "0.7"}},
            "name, outputs (with name, shape, dtype, layout), weights.trained_on, weights.recipe",
        ),
        (
            {"task": "action", "weights": None},
            "clip (with length_s, spacing_s, hop_s, size, images_at), "
            "weights (with licence, trained_on, recipe, score)",
        ),
        ({"clip": {"length_s": 1, "spacing_s": 0.1, "size": [6, 4]}}, "clip.hop_s, clip.images_at"),
    ],
)
def test_all_that_is_missing_is_named_at_once(changed: dict[str, Any], missing: str, tmp_path: Path) -> None:
    path = described(tmp_path / "net.yaml", **changed)
    with pytest.raises(BadSpecError) as caught:
        spec_from_yaml(path)
    assert str(caught.value) == f"{path}: missing: {missing}"


@pytest.mark.parametrize("changed", [{"weights": "mine"}, {"inputs": "frame"}, {"clip": [1]}])
def test_a_section_of_another_kind_is_said(changed: dict[str, Any], tmp_path: Path) -> None:
    path = described(tmp_path / "net.yaml", **changed)
    with pytest.raises(BadSpecError) as caught:
        spec_from_yaml(path)
    assert str(caught.value).startswith(f"{path}: ")
