"""What a network is known by: its file's content, a folder of its own, the word that the user types."""

from dataclasses import replace
from pathlib import Path

import pytest
import tiny_models

from headrace.engines import BuildError
from headrace.engines.network import called, network_digest, network_folder, safe_name
from headrace.engines.store import cache_root
from headrace.models import spec as spec_of


def test_the_digest_is_of_the_file_and_of_the_weights_beside_it(tmp_path: Path) -> None:
    spec = tiny_models.segmenter(tmp_path)
    alone = network_digest(spec)
    beside = spec.weights.file.with_name(spec.weights.file.name + ".data")
    beside.write_bytes(b"weights")
    first = network_digest(spec)
    beside.write_bytes(b"others.")
    assert len({alone, first, network_digest(spec)}) == 3


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    spec = tiny_models.segmenter(tmp_path)
    spec.weights.file.unlink()
    with pytest.raises(BuildError, match=r"segmenter\.onnx: no such file"):
        network_digest(spec)


def test_the_folder_is_in_the_cache_whatever_the_network_is_called(tmp_path: Path) -> None:
    spec = replace(tiny_models.segmenter(tmp_path), name="../my net/ü")
    assert network_folder(spec).parent == cache_root() / "networks"
    assert "/" not in safe_name(spec)


def test_it_is_called_as_the_user_calls_it(tmp_path: Path) -> None:
    assert called(spec_of("street")) == "street"
    spec = tiny_models.segmenter(tmp_path)
    assert called(spec) == str(spec.weights.file)
