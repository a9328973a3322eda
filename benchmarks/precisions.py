"""Prints what each precision of the bundled networks costs and brings on the CPU: accuracy and speed in one run.

    python benchmarks/precisions.py
    python benchmarks/precisions.py street --camvid shared/data/segmentation/camvid
    python benchmarks/precisions.py --camvid CAMVID --actions shared/data/actions/fight_surv --calibrate road.mp4

fp32, bf16, fp16 and int8 on OpenVINO and on ONNX Runtime. `runs in` is what the engine says of its layers: no CPU
here may compute in half, and then a half file runs in full precision. The int8 file is made anew, as `headrace build`
makes it: calibrated on the bundled scene, or on `--calibrate SOURCE`. Agreement is with float32 on ONNX Runtime,
over pictures that nothing was calibrated on: CamVid's or the videos' if they are given, else other places of the
scene. All engines take turns, several times, so that what else the machine does hits all of them: `ms` is of one
frame alone, `fps` of all sessions at once, both medians.
"""

import argparse
import os
import tempfile
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from headrace.engines import Engine, EngineError, PrecisionError
from headrace.engines.base import Precision
from headrace.engines.catalog import compile_engine, version
from headrace.engines.compare import Comparison, compare
from headrace.engines.inputs import Array
from headrace.engines.machine import cpu
from headrace.engines.race import Feeds, Pace, race
from headrace.engines.store import ROOT_VARIABLE
from headrace.engines.variants import make_int8, record, variant
from headrace.models import ModelSpec, names, spec
from headrace.models.segment.metrics import scores
from headrace.stream.footage import feeds
from headrace.stream.frame import Clip
from headrace.tools.evaluate import evaluate, open_dataset
from headrace.tools.evaluate_actions import judge, sources_at
from headrace.tools.train.action_data import LABELS, Label

ENGINES = ("openvino", "onnxruntime")
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16", "fp16", "int8")
CALIBRATION, COMPARED = 60, 24
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Videos:
    """Labelled clips that were cut before: each engine judges the same."""

    dataset: str
    group: str
    name: str
    clips: list[tuple[Clip, Label]] = field(repr=False)

    def cut(self) -> list[tuple[Clip, Label]]:
        """The clips."""
        return self.clips


@dataclass(slots=True, kw_only=True, eq=False)
class Row:
    """One line of the table."""

    name: str
    precision: Precision
    engine: Engine | None = None
    refused: str = ""
    found: Comparison | None = None
    accuracy: str = ""
    pace: Pace | EngineError | None = None


class Data:
    """What the networks are tried on."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._camvid, self._actions, self.calibrate = options.camvid, options.actions, options.calibrate
        self._videos: list[Videos] | None = None
        self._pairs: list[tuple[Array, Array]] | None = None

    def unseen(self, network: ModelSpec) -> list[Feeds]:
        """Inputs that nothing was calibrated on."""
        if network.clip is None and self.pairs(network):
            pictures = [picture for picture, _ in self.pairs(network)]
            name = network.inputs[0].name
            return [{name: np.array(picture[None])} for picture in _some(pictures)]
        if network.clip is not None and self.videos():
            clips = [clip for video in self.videos() for clip, _ in video.clips]
            return [{"images": clip.images[None], "flows": clip.flows[None]} for clip in _some(clips)]
        return feeds(network, None, CALIBRATION + COMPARED)[CALIBRATION:]

    def accuracy(self, network: ModelSpec, engine: Engine) -> str:
        """mIoU or top-1; empty where there is no data."""
        if network.clip is None:
            pairs = self.pairs(network)
            return f"{scores(evaluate(engine, pairs)).mean_iou:.4f}" if pairs else ""
        if not self.videos():
            return ""
        with engine.session() as session:
            judged = [each for video in self.videos() for each in judge(session, video)]  # type: ignore[arg-type]
        return f"{np.mean([each.label == LABELS[int(each.scores['both'].argmax())] for each in judged]):.4f}"

    def pairs(self, network: ModelSpec) -> list[tuple[Array, Array]]:
        """CamVid's pictures and labels; none without it."""
        if self._pairs is None:
            self._pairs = list(open_dataset(network, self._camvid, "val")[1]) if self._camvid else []
        return self._pairs

    def videos(self) -> list[Videos]:
        """The labelled videos with their clips; none without them."""
        if self._videos is None:
            found = sources_at(self._actions, "val") if self._actions else []
            self._videos = [
                Videos(dataset=each.dataset, group=each.group, name=each.name, clips=each.cut()) for each in found
            ]
        return self._videos


def main() -> None:
    """Measure and print."""
    options = _options()
    data = Data(options)
    print(f"{cpu()}; {', '.join(f'{name} {version(name)}' for name in ENGINES)}; numpy {np.__version__}")
    with tempfile.TemporaryDirectory(prefix="headrace-") as folder:
        os.environ[ROOT_VARIABLE] = folder
        for name in options.models or names():
            _measure(spec(name), data)


def _measure(network: ModelSpec, data: Data) -> None:
    calibration = feeds(network, data.calibrate, CALIBRATION, told=print)
    make_int8(network, calibration, source=data.calibrate or "the bundled scene")
    unseen = data.unseen(network)
    with ExitStack() as opened:
        rows = [_row(network, name, precision, opened) for name in ENGINES for precision in PRECISIONS]
        reference = next(row for row in rows if (row.name, row.precision) == ("onnxruntime", "fp32"))
        assert reference.engine is not None, reference.refused
        wanted = _results(reference.engine, unseen)
        running = [(row, row.engine) for row in rows if row.engine is not None]
        for row, engine in running:
            row.found = compare(engine.outputs, wanted, _results(engine, unseen))
            row.accuracy = data.accuracy(network, engine)
        for (row, _), pace in zip(running, race([engine for _, engine in running], unseen), strict=True):
            row.pace = pace
    _print(network, rows, unseen)


def _row(network: ModelSpec, name: str, precision: Precision, opened: ExitStack) -> Row:
    row = Row(name=name, precision=precision)
    try:
        row.engine = opened.enter_context(_compiled(network, name, precision))
    except EngineError as error:
        row.refused = str(error).removeprefix(f"{network.weights.file}: ")
    return row


def _compiled(network: ModelSpec, name: str, precision: Precision) -> Engine:
    try:
        return compile_engine(network, name, precision)
    except PrecisionError:
        if precision != "fp16":
            raise
        return compile_engine(variant(network, "fp16"), name, None)


def _results(engine: Engine, inputs: Sequence[Feeds]) -> list[dict[str, Array]]:
    with engine.session() as session:
        return [session.infer(each) for each in inputs]


def _print(network: ModelSpec, rows: Sequence[Row], unseen: Sequence[Feeds]) -> None:
    made = record(network, "int8") or {}
    what = "mIoU" if network.task == "segment" else "top-1"
    print(f"\n{network.name}, {network.parameters / 1e6:.2f} M parameters; compared on {len(unseen)} inputs")
    print(
        f"int8: calibrated on {made['inputs']} inputs of {made['calibrated_on']} ({made['method']});"
        f" in float: {', '.join(made['kept_float'])}"
    )
    print(f"engine       file  runs in  agreement  mean error  {what:>6}     ms    fps  times fp32")
    for row in rows:
        slow = next(each for each in rows if (each.name, each.precision) == (row.name, "fp32"))
        print(_line(row, slow))


def _line(row: Row, slow: Row) -> str:
    head = f"{row.name:<12} {row.precision}"
    if row.engine is None or row.found is None:
        return f"{head}  {row.refused}"
    alike = row.found.agreement if row.found.agreement is not None else row.found.top1
    error = "" if row.found.mean_error is None else f"{row.found.mean_error:.4f}"
    line = f"{head}  {row.engine.info.precision:<7}  {alike:9.4f}  {error:>10}  {row.accuracy or '-':>6}"
    if not isinstance(row.pace, Pace) or not isinstance(slow.pace, Pace):
        return f"{line}  {row.pace}"
    return f"{line}  {row.pace.ms:5.1f}  {row.pace.fps:5.0f}  {row.pace.fps / slow.pace.fps:10.2f}"


def _some(found: Sequence[T]) -> list[T]:
    return [found[int((at + 0.5) * len(found) / COMPARED)] for at in range(min(COMPARED, len(found)))]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help="networks (default: all bundled ones)")
    parser.add_argument("--camvid", help="CamVid's folder, for mIoU")
    parser.add_argument("--actions", help="a folder of labelled videos, for top-1")
    parser.add_argument("--calibrate", metavar="SOURCE", help="own footage for int8 (default: the bundled scene)")
    return parser.parse_args()


if __name__ == "__main__":
    warnings.simplefilter("error")
    main()
