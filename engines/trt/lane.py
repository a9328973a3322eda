"""A lane: one session's way through the GPU, with a stream, staging and memory of its own, all on the device thread."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TypeVar

import numpy as np

from headrace.engines.batches import Part, fill, take
from headrace.engines.cuda import Buffer, Event, Pinned, Stream, copy_in, copy_out, free_bytes
from headrace.engines.errors import DeviceError, InferError
from headrace.engines.inputs import Array
from headrace.engines.trt.callbacks import LayerTimes
from headrace.engines.trt.plan import Plan, Shape, Tensor
from headrace.engines.trt.prepared import Prepared

Held = TypeVar("Held", Buffer, Pinned)
_LEAST_BYTES = 256


class Lane:
    """Made, used and closed on the device thread; one run at a time, several lanes side by side.

    Memory is taken once, for the longest batch. Each batch length is prepared on its first run, and becomes a CUDA
    graph after it.

    Args:
        network: its name, for messages.
        axes: where the rows of each input and output lie; None where it has none.
        note: hears once for each batch length that no graph could be made of.
        recordable: whether a graph may be made now; where it may not, a later run makes it.
        times: hears what each layer takes; nothing runs as a graph then.

    Raises:
        DeviceError: the GPU has not enough free memory; says how much is needed and free.
    """

    def __init__(
        self,
        plan: Plan,
        network: str,
        *,
        axes: Mapping[str, int | None],
        note: Callable[[str], None],
        recordable: Callable[[], bool] = lambda: True,
        times: LayerTimes | None = None,
    ) -> None:
        self._plan = plan
        self._network = network
        self._axes = axes
        self._note = note
        self._recordable = recordable
        self._times = times
        self._prepared: dict[int, Prepared] = {}
        self._sized = {each.name: shape for each in plan.tensors if (shape := plan.shapes[each.name]) is not None}
        self._require_room()
        self._held: list[Buffer | Pinned] = []
        self._stream = Stream()
        try:
            self._scratch = self._hold(Buffer(max(plan.scratch_bytes, _LEAST_BYTES)))
            sized = [each for each in plan.tensors if each.name in self._sized]
            self._device = {each.name: self._hold(Buffer(self._room(each))) for each in sized}
            self._host = {each.name: self._hold(Pinned(self._sized[each.name], each.dtype)) for each in sized}
        except BaseException:
            self.close()
            raise

    @property
    def graphs(self) -> tuple[int, ...]:
        """The batch lengths that run as a graph."""
        return tuple(rows for rows, each in sorted(self._prepared.items()) if each.as_graph)

    def queue(self, feeds: Mapping[str, Array], part: Part, wanted: tuple[str, ...]) -> "Queued":
        """Queue copies in, one run and copies out; returns at once.

        Args:
            feeds: every input, whole.
            part: which of its rows are run, padded to which length.

        Raises:
            InferError: the network failed.
            DeviceError: there is no memory for this batch length.
        """
        try:
            prepared = self._ready(part.length)
            for tensor in self._plan.tensors:
                if tensor.is_input:
                    self._stage(tensor, feeds[tensor.name], prepared.shapes[tensor.name], part)
            prepared.enqueue()
            for name in wanted:
                self._fetch(name, prepared)
        except BaseException as error:
            with suppress(Exception):
                self._stream.synchronize()  # what was queued reads memory that the next call writes
            if isinstance(error, InferError | DeviceError):
                raise type(error)(f"{self._network} on tensorrt: {error}") from error
            raise
        return Queued(self, prepared, self._stream.record(), part, wanted)

    def close(self) -> None:
        """Let go of everything, contexts first; may be called twice."""
        # A run may still be under way. If it failed, whoever ran it was told; closing goes on.
        with suppress(Exception):
            self._stream.synchronize()
        for each in self._prepared.values():
            each.close()
        self._prepared.clear()
        for held in reversed(self._held):
            held.free()
        self._held.clear()
        self._stream.free()

    def _results(self, queued: "Queued") -> dict[str, Array]:
        prepared = queued.prepared
        results = {
            name: prepared.grown[name].array() if name in prepared.grown else self._taken(name, queued)
            for name in queued.wanted
        }
        refused = prepared.capture() if self._recordable() else None
        if refused is not None:
            self._note(f"{self._network}: runs without a CUDA graph: {refused}")
        return results

    def _taken(self, name: str, queued: "Queued") -> Array:
        # Pinned memory stays here; what leaves is a copy of the rows.
        memory = _shaped(self._host[name].array, queued.prepared.shapes[name])
        return take(memory, self._axes[name], queued.part)

    def _ready(self, rows: int) -> Prepared:
        prepared = self._prepared.get(rows)
        if prepared is None:
            prepared = self._prepared[rows] = Prepared(
                self._plan, rows, stream=self._stream, buffers=self._device, scratch=self._scratch, times=self._times
            )
        return prepared

    def _stage(self, tensor: Tensor, array: Array, shape: Shape, part: Part) -> None:
        host = self._host[tensor.name]
        # The padding is zeros: what lies there from another run could be an index out of range.
        fill(_shaped(host.array, shape), array, self._axes[tensor.name], part)
        copy_in(self._device[tensor.name], host, tensor.nbytes(shape), self._stream)

    def _fetch(self, name: str, prepared: Prepared) -> None:
        if name in prepared.grown:
            prepared.grown[name].copy_out(self._stream)
            return
        array = _shaped(self._host[name].array, prepared.shapes[name])
        if array.nbytes:
            copy_out(self._host[name], self._device[name], array.nbytes, self._stream)

    def _require_room(self) -> None:
        sized = [each for each in self._plan.tensors if each.name in self._sized]
        needed = self._plan.scratch_bytes + sum(self._room(each) for each in sized)
        free = free_bytes()
        if needed > free:
            raise DeviceError(
                f"{self._network}: one more session needs {needed / 1e6:.1f} MB of the GPU's memory and "
                f"{free / 1e6:.1f} MB are free; use fewer sessions or a smaller max_batch, or end what else runs there"
            )

    def _room(self, tensor: Tensor) -> int:
        return max(tensor.nbytes(self._sized[tensor.name]), _LEAST_BYTES)

    def _hold(self, held: Held) -> Held:
        self._held.append(held)
        return held


class Queued:
    """A run that the GPU has been given."""

    __slots__ = ("_done", "_lane", "part", "prepared", "wanted")

    def __init__(self, lane: Lane, prepared: Prepared, done: Event, part: Part, wanted: tuple[str, ...]) -> None:
        self._lane = lane
        self._done = done
        self.prepared = prepared
        self.part = part
        self.wanted = wanted

    def ready(self) -> bool:
        """Whether the results are there; does not wait."""
        return self._done.done()

    def results(self) -> dict[str, Array]:
        """The wanted outputs' rows, in memory of their own; after `ready`."""
        return self._lane._results(self)


class Run:
    """One run as a task of the device thread."""

    def __init__(self, lane: Lane, feeds: Mapping[str, Array], part: Part, wanted: tuple[str, ...]) -> None:
        self._lane = lane
        self._feeds = feeds
        self._part = part
        self._wanted = wanted
        self._queued: Queued | None = None

    def begin(self) -> None:
        """Queue it."""
        self._queued = self._lane.queue(self._feeds, self._part, self._wanted)

    def ready(self) -> bool:
        """Whether the GPU is done."""
        return self._queued is not None and self._queued.ready()

    def finish(self) -> dict[str, Array]:
        """Fetch the results."""
        assert self._queued is not None, "finish comes after begin"
        return self._queued.results()


def _shaped(whole: Array, shape: Shape) -> Array:
    """The front of memory for the longest batch, as an array of this shape."""
    length = int(np.prod(shape, dtype=np.int64))
    return whole.reshape(-1)[:length].reshape(shape)
