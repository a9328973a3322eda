"""How large the numbers in a network become on real inputs: what its int8 scales are made of."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
import onnx
from numpy.typing import NDArray

from headrace.models.errors import UnsupportedGraphError

Feeds = Mapping[str, NDArray[Any]]
"""All inputs of a network by name, batch first; its state is carried here, as a session does."""
Told = Callable[[str], None]
Method = Literal["mse", "percentile", "minmax"]
"""Where the range of a tensor ends: where rounding and cutting off together do the least harm (mean square); where
all but the hundred-thousandth greatest values lie; at the greatest."""

_NEXT = "next_"
"""An input `NAME` and an output `next_NAME` are one state."""
_PERCENTILE = 0.99999
_BINS = 8192
_LEVELS = 127
_TOLD_EVERY = 10

F64 = NDArray[np.float64]


def greatest_of(
    model: onnx.ModelProto,
    tensors: Collection[str],
    feeds: Sequence[Feeds],
    *,
    method: Method = "mse",
    told: Told = lambda line: None,
) -> dict[str, float]:
    """For each of some float tensors of a network the magnitude at which its range ends, above 0.

    Args:
        feeds: what the network meets in use; consecutive where it has state.
        told: hears how it goes on.

    Raises:
        ValueError: no feeds, feeds that do not fit the network, or an unknown method.
        UnsupportedGraphError: onnxruntime cannot run the network.
        ImportError: onnxruntime is not installed.
    """
    if not feeds:
        raise ValueError("nothing to calibrate on")
    if method not in get_args(Method):
        raise ValueError(f"calibration {method!r} is not known; allowed: {', '.join(get_args(Method))}")
    watch = _Watch(model, tensors)
    greatest = dict.fromkeys(watch.tensors, 0.0)
    for values in watch.run(feeds, lambda at: told(f"calibrating: {at} of {len(feeds)}")):
        for name, found in values.items():
            greatest[name] = max(greatest[name], float(np.abs(found).max(initial=0.0)))
    # What is 0 on every input still needs a scale.
    greatest = {name: found if found > np.finfo(np.float32).tiny else 1.0 for name, found in greatest.items()}
    if method == "minmax":
        return greatest
    counts = {name: np.zeros(_BINS) for name in greatest}
    for values in watch.run(feeds, lambda at: told(f"counting: {at} of {len(feeds)}")):
        for name, found in values.items():
            counts[name] += _histogram(found, greatest[name])
    share = _percentile if method == "percentile" else _least_harm
    return {name: found * share(counts[name]) for name, found in greatest.items()}


class _Watch:
    """A network that shows some of its tensors."""

    def __init__(self, model: onnx.ModelProto, tensors: Collection[str]) -> None:
        from headrace.models.quiet_onnxruntime import onnxruntime

        outputs = {each.name for each in model.graph.output}
        self._state = [each for each in model.graph.input if _NEXT + each.name in outputs]
        inputs = {each.name for each in model.graph.input}
        self._shown = [name for name in tensors if name not in inputs]
        self.tensors = list(tensors)
        watched = onnx.ModelProto()
        watched.CopyFrom(model)
        for name in self._shown:
            if name not in outputs:
                watched.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                watched.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's classes have no common base below Exception
            raise UnsupportedGraphError(f"onnxruntime cannot run it, so it cannot be calibrated: {error}") from error

    def run(self, feeds: Sequence[Feeds], told: Callable[[int], None]) -> Iterator[dict[str, NDArray[Any]]]:
        """The tensors by name on each of the inputs, one after the other; the state begins with zeros."""
        carried: dict[str, NDArray[Any]] = {}
        for at, fed in enumerate(feeds):
            if at % _TOLD_EVERY == 0:
                told(at)
            batch = len(next(iter(fed.values())))
            state = {each.name: carried.get(each.name, _zeros(each, batch)) for each in self._state}
            call = {**fed, **state}
            wanted = list(dict.fromkeys([*self._shown, *(_NEXT + name for name in state)]))
            found = dict(zip(wanted, self._run(wanted, call), strict=True))
            carried = {name: found[_NEXT + name] for name in state}
            yield {name: found[name] if name in found else call[name] for name in self.tensors}

    def _run(self, wanted: list[str], call: Feeds) -> list[NDArray[Any]]:
        if not wanted:  # to it, nothing would mean all
            return []
        try:
            results: list[NDArray[Any]] = self._session.run(wanted, call)
        except Exception as error:  # onnxruntime's classes have no common base below Exception
            raise ValueError(f"what it is to be calibrated on does not fit the network: {error}") from error
        return results


def _histogram(values: NDArray[Any], greatest: float) -> F64:
    """How many magnitudes lie in each of equal bins from 0 to the greatest."""
    scaled = np.abs(values.ravel()).astype(np.float64, copy=False) * (_BINS / greatest)
    return np.bincount(np.minimum(scaled, _BINS - 1).astype(np.int64), minlength=_BINS).astype(np.float64)


def _percentile(counts: F64) -> float:
    """The share of the range below which all but the rarest values lie."""
    below = np.cumsum(counts) / counts.sum()
    return (int(np.searchsorted(below, _PERCENTILE)) + 1) / _BINS


def _least_harm(counts: F64) -> float:
    """The share of the range that, cut into the levels of int8, has the least mean square error."""
    middles = (np.arange(_BINS) + 0.5) / _BINS
    ends = np.linspace(0.1, 1.0, 91)
    harms = []
    for end in ends:
        step = end / _LEVELS
        kept = np.minimum(np.round(middles / step), _LEVELS) * step
        harms.append(float((counts * (middles - kept) ** 2).sum()))
    return float(ends[int(np.argmin(harms))])


def _zeros(value: onnx.ValueInfoProto, batch: int) -> NDArray[Any]:
    tensor = value.type.tensor_type
    shape = [length.dim_value or batch for length in tensor.shape.dim]
    return np.zeros(shape, onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
