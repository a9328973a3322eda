"""The bundled networks in int8: on both CPU engines as good as in float32, on real pictures and videos."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason='onnx is not installed: pip install "headrace[onnx]"')
pytest.importorskip("onnxruntime", reason='onnxruntime is not installed: pip install "headrace[onnx]"')

from headrace.engines.catalog import compile_engine
from headrace.engines.variants import make_int8, record
from headrace.models import spec
from headrace.models.segment.metrics import scores
from headrace.stream.footage import feeds
from headrace.tools.evaluate import evaluate, open_dataset
from headrace.tools.evaluate_actions import judge, sources_at

pytestmark = pytest.mark.slow
ENGINES = ("openvino", "onnxruntime")


def test_street_loses_less_than_a_point_of_mean_iou(shared_data: Path) -> None:
    network = spec("street")
    make_int8(network, feeds(network, None, 24))
    assert max((record(network, "int8") or {})["loss"].values()) < 0.01
    pairs = list(open_dataset(network, str(shared_data / "segmentation" / "camvid"), "val")[1])
    for engine in ENGINES:
        found = {}
        for precision in ("fp32", "int8"):
            with compile_engine(network, engine, precision) as opened:  # type: ignore[arg-type]
                found[precision] = scores(evaluate(opened, pairs)).mean_iou
        assert found["int8"] > found["fp32"] - 0.01, f"{engine}: {found}"


def test_two_stream_names_the_same_action(shared_data: Path) -> None:
    network = spec("two_stream")
    make_int8(network, feeds(network, None, 24))
    videos = sources_at(str(shared_data / "actions" / "fight_surv"), "val")[::3]
    for engine in ENGINES:
        said = []
        for precision in ("fp32", "int8"):
            with compile_engine(network, engine, precision) as opened, opened.session() as session:  # type: ignore[arg-type]
                judged = [each for video in videos for each in judge(session, video)]
            said.append([int(each.scores["both"].argmax()) for each in judged])
        assert np.mean(np.equal(*said)) >= 0.9, engine
