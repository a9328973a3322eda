"""Torch on the CPU: the contract with every length as it is and with padded lengths, bf16, threads, compilation."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
from contracts import EngineContract, frames, in_threads, reference

from headrace.engines import BuildError, Engine, InferError, MissingBackendError, PrecisionError, SpecMismatchError
from headrace.models import catalog
from headrace.models.spec import ModelSpec

torch = pytest.importorskip("torch", reason='torch is not installed: pip install "headrace[models]"')

import torch_twins  # noqa: E402

from headrace.engines import th  # noqa: E402
from headrace.engines.ov import OpenVinoEngine  # noqa: E402
from headrace.engines.th_network import Network  # noqa: E402
from headrace.engines.th_slots import Slots  # noqa: E402


def relative_error(got: np.ndarray, want: np.ndarray) -> float:
    return float(np.abs(got - want).max() / np.abs(want).max())


class TestTorch(EngineContract):
    backend = "torch"
    options: dict[str, Any] = {}

    def open(self, spec: ModelSpec, **options: Any) -> Engine:
        return th.TorchEngine(spec, module=torch_twins.twin(spec), **self.options, **options)

    def test_a_quantized_file_is_called_int8(self, tmp_path: Path) -> None:
        """Torch runs definitions: a quantized file has none, and is never run as something else."""
        with pytest.raises(BuildError, match=r"quantized\.onnx: .*engines that run the file: .*openvino"):
            self.open(tiny_models.quantized(tmp_path))

    def test_an_unknown_operator_is_named(self, tmp_path: Path) -> None:
        """It is the definition that torch lacks, whatever is in the file."""
        with pytest.raises(
            BuildError, match=r"unknown_operator\.onnx: .*definition.* 'unknown_operator'; there are:"
        ):
            self.open(tiny_models.unknown_operator(tmp_path))


class TestTorchPadded(TestTorch):
    """As on a GPU: memory for some batch lengths, the others cut and padded."""

    @pytest.fixture(autouse=True)
    def _padded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(th.BATCHES, "cpu", (1, 2, 4))

    def test_it_says_so(self, segmenter: ModelSpec) -> None:
        with self.open(segmenter) as engine:
            assert engine.batches == (1, 2, 4)


@pytest.mark.gpu
class TestTorchCuda(TestTorch):
    """The same on an NVIDIA GPU: graphs, pinned memory, two sessions."""

    backend = "torch:cuda"
    options = {"device": "cuda"}  # noqa: RUF012

    def test_it_says_so(self, segmenter: ModelSpec) -> None:
        with self.open(segmenter) as engine:
            assert engine.batches == (1, 2, 4, 8)
            assert engine.sessions == 2
            assert engine.info.device == torch.cuda.get_device_name()
