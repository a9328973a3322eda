"""ONNX Runtime on the CPU."""

from pathlib import Path

import pytest
import tiny_models
from contracts import EngineContract

from headrace.engines import Precision, PrecisionError, open_engine

pytest.importorskip("onnxruntime", reason='ONNX Runtime is not installed: pip install "headrace[onnx]"')


class TestOnnxRuntime(EngineContract):
    backend = "onnxruntime"

    @pytest.mark.parametrize("precision", ["bf16", "fp16"])
    def test_half_precisions_are_refused(self, tmp_path: Path, precision: Precision) -> None:
        spec = tiny_models.segmenter(tmp_path)
        with pytest.raises(PrecisionError, match=f"asked for {precision}; onnxruntime runs it on the CPU in fp32"):
            open_engine(spec, engine="onnxruntime", precision=precision)
