"""What a torch session runs prepared batch lengths with: memory set once, and on a GPU a captured CUDA graph."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import torch
from torch import Tensor

from headrace.engines.batches import batch_axis, fill, join, parts, shape_for, take
from headrace.engines.inputs import Array
from headrace.engines.th_network import Network, setting_up
from headrace.models.spec import TensorSpec

Results = tuple[Tensor, ...]
Shapes = Sequence[tuple[tuple[int, ...], torch.dtype]]

_log = logging.getLogger(__name__)


class GraphStream(Protocol):
    """What a session has of a GPU: a stream of its own, on which runs are queued, captured and replayed."""

    def pinned(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Memory of the host that the GPU copies by itself."""

    def on_device(self, like: Tensor) -> Tensor:
        """Memory of the GPU, of that shape and dtype."""

    def queue(self) -> AbstractContextManager[object]:
        """Work begun inside goes onto this stream; nothing waits for it."""

    def synchronize(self) -> None:
        """Wait until all queued work is done."""

    def capture(self, run: Callable[[], Results]) -> tuple[Callable[[], None], Results]:
        """Record a run: what replays it, and where each replay leaves its results.

        Raises:
            RuntimeError: the run cannot be captured; the stream goes on working.
        """


class Slots:
    """Cuts and pads a session's batches; a length's slot is made when it is first needed."""

    def __init__(
        self,
        network: Network,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        *,
        batches: Sequence[int],
        stream: GraphStream | None = None,
    ) -> None:
        """`stream`: None on the CPU. `batches`: the lengths, shortest first; (1,) for inputs whose shapes are fixed."""
        self._inputs = tuple(inputs)
        self._axes = [batch_axis(each) for each in inputs]
        self._output_at = {each.name: at for at, each in enumerate(outputs)}
        self._output_axes = [batch_axis(each) for each in outputs]
        self._batches = tuple(batches)
        self._network = network
        self._stream = stream
        self._slots: dict[int, _Slot] = {}

    def __call__(self, feeds: Mapping[str, Array], wanted: Sequence[str]) -> dict[str, Array]:
        """Results by name, of as many rows as were fed; arrays of their own."""
        numbers = [self._output_at[name] for name in wanted]
        pieces: list[list[Array]] = [[] for _ in numbers]
        for part in parts(self._rows(feeds), self._batches):
            slot = self._slots.get(part.length) or self._new(part.length)
            for memory, spec, axis in zip(slot.fed, self._inputs, self._axes, strict=True):
                fill(memory, feeds[spec.name], axis, part)
            for at, (number, memory) in enumerate(zip(numbers, slot.run(numbers), strict=True)):
                pieces[at].append(take(memory, self._output_axes[number], part))
        return {
            name: join(found, self._output_axes[number])
            for name, number, found in zip(wanted, numbers, pieces, strict=True)
        }

    def _rows(self, feeds: Mapping[str, Array]) -> int:
        free = ((spec, axis) for spec, axis in zip(self._inputs, self._axes, strict=True) if axis is not None)
        return next((feeds[spec.name].shape[axis] for spec, axis in free), 1)

    def _new(self, length: int) -> "_Slot":
        shapes = [(shape_for(each, length), getattr(torch, each.dtype)) for each in self._inputs]
        slot = (
            _Slot(self._network, shapes) if self._stream is None else _GraphSlot(self._network, shapes, self._stream)
        )
        self._slots[length] = slot
        return slot


class _Slot:
    """Runs one batch length from memory that stays."""

    def __init__(self, network: Network, shapes: Shapes) -> None:
        self._network = network
        self._staged = [self._staging(shape, dtype) for shape, dtype in shapes]
        self.fed: list[Array] = [each.numpy() for each in self._staged]
        """What the caller's rows are written into, in the order of the inputs."""

    def run(self, wanted: Sequence[int]) -> list[Array]:
        """Run on what lies in `fed`: the results of these numbers, in memory that the next run may write into."""
        results = self._network(*self._staged)
        return [results[number].numpy() for number in wanted]

    def _staging(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        return torch.empty(shape, dtype=dtype)


class _GraphSlot(_Slot):
    """The same on a GPU: pinned memory, copies and the run on the session's stream, replayed from a graph."""

    def __init__(self, network: Network, shapes: Shapes, stream: GraphStream) -> None:
        self._stream = stream
        super().__init__(network, shapes)
        self._inputs = [stream.on_device(each) for each in self._staged]
        self._results: Results = ()
        self._host: dict[int, Tensor] = {}
        self._replay: Callable[[], None] | None = None

    def run(self, wanted: Sequence[int]) -> list[Array]:
        replay = self._replay or self._begin()
        with self._stream.queue():
            self._copy_in()
            replay()
            memory = [self._fetched(number) for number in wanted]
        self._stream.synchronize()
        return [each.numpy() for each in memory]

    def _begin(self) -> Callable[[], None]:
        """Run once as it is: what cuDNN and the allocator do the first time cannot be captured. Then capture."""
        with setting_up:
            with self._stream.queue():
                self._copy_in()
                self._plain()
            self._stream.synchronize()
            try:
                self._replay, self._results = self._stream.capture(lambda: self._network(*self._inputs))
            except RuntimeError as error:
                _log.warning("torch runs batches of %d without a CUDA graph: %s", len(self.fed[0]), error)
                self._replay = self._plain
        return self._replay

    def _plain(self) -> None:
        self._results = self._network(*self._inputs)

    def _copy_in(self) -> None:
        for given, staged in zip(self._inputs, self._staged, strict=True):
            given.copy_(staged, non_blocking=True)

    def _fetched(self, number: int) -> Tensor:
        found = self._results[number]
        if number not in self._host:
            self._host[number] = self._staging(found.shape, found.dtype)
        return self._host[number].copy_(found, non_blocking=True)

    def _staging(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        return self._stream.pinned(shape, dtype)


class CudaStream:
    """A stream of the first GPU; made, used and left on one thread."""

    def __init__(self) -> None:
        self._stream = torch.cuda.Stream()
        self._memory = torch.cuda.graph_pool_handle()  # one for all graphs: a session never runs two at once

    def pinned(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        return torch.empty(tuple(shape), dtype=dtype, pin_memory=True)

    def on_device(self, like: Tensor) -> Tensor:
        return torch.empty_like(like, device="cuda", pin_memory=False)

    def queue(self) -> AbstractContextManager[object]:
        queue: AbstractContextManager[object] = torch.cuda.stream(self._stream)
        return queue

    def synchronize(self) -> None:
        self._stream.synchronize()

    def capture(self, run: Callable[[], Results]) -> tuple[Callable[[], None], Results]:
        graph = torch.cuda.CUDAGraph()
        try:
            # Other threads go on calling CUDA meanwhile: what they do does not end this thread's capture.
            with torch.cuda.graph(graph, pool=self._memory, stream=self._stream, capture_error_mode="thread_local"):
                results = run()
        except RuntimeError:
            self._stream = torch.cuda.Stream()  # the old one may still be in its broken capture
            raise
        return graph.replay, results
