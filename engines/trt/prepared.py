"""One batch length made ready: an execution context with shapes and addresses set once, and its CUDA graph."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headrace.engines.cuda import Buffer, Pinned, Stream, copy_out
from headrace.engines.cuda_graph import Graph
from headrace.engines.errors import DeviceError, InferError
from headrace.engines.trt.callbacks import Errors, LayerTimes, OutputMemory
from headrace.engines.trt.plan import Plan, Shape, Tensor


class GrownOutput:
    """Memory for an output whose length the data decides: it grows as the network asks, and stays."""

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor
        self._device: Buffer | None = None
        self._host: Pinned | None = None
        self.allocator = OutputMemory(self._grow)

    def copy_out(self, stream: Stream) -> None:
        """Queue the copy to the host; its shape is known once the run is queued."""
        nbytes = self._tensor.nbytes(self.allocator.shape)
        if nbytes and self._device is not None:
            if self._host is None or self._host.array.nbytes < nbytes:
                if self._host is not None:
                    self._host.free()
                self._host = Pinned((self._device.nbytes,), np.uint8)
            copy_out(self._host, self._device, nbytes, stream)

    def array(self) -> NDArray[Any]:
        """What the last run gave, in memory of its own."""
        shape = self.allocator.shape
        nbytes = self._tensor.nbytes(shape)
        if not nbytes or self._host is None:
            return np.empty(shape, self._tensor.dtype)
        return self._host.array[:nbytes].view(self._tensor.dtype).reshape(shape).copy()

    def free(self) -> None:
        """Let go of the memory."""
        for held in (self._device, self._host):
            if held is not None:
                held.free()
        self._device = self._host = None

    def _grow(self, nbytes: int) -> int:
        if self._device is None or self._device.nbytes < nbytes:
            if self._device is not None:
                self._device.free()
            self._device = None
            self._device = Buffer(max(nbytes, 1))
        return self._device.address


class Prepared:
    """A batch length that a lane can run; the lane's memory is shared by all of them, for one runs at a time.

    Args:
        buffers: the memory of each input, and of each output whose shape is known.
        scratch: what the network computes in.
        times: hears what each layer takes; such a context never runs as a graph.

    Raises:
        DeviceError: no memory for one more context.
        InferError: the network does not take this batch length.
    """

    def __init__(
        self,
        plan: Plan,
        rows: int,
        *,
        stream: Stream,
        buffers: Mapping[str, Buffer],
        scratch: Buffer,
        times: LayerTimes | None = None,
    ) -> None:
        self._log = plan.log
        self._stream = stream
        self._graph: Graph | None = None
        self._graph_refused = times is not None
        self._given_up = ""
        self._ran = False
        self._errors = Errors()
        self._context: Any = plan.context(rows, stream.handle)
        self.grown: dict[str, GrownOutput] = {}
        try:
            self._context.error_recorder = self._errors
            if times is not None:
                self._context.profiler = times
            stream.synchronize()  # the profile is chosen on the stream
            self._context.set_device_memory(scratch.address, scratch.nbytes)
            self.shapes = {each.name: self._shape(each) for each in plan.tensors}
            self._place(plan.tensors, buffers)
        except BaseException:
            self.close()
            raise

    def enqueue(self) -> None:
        """Queue one run: as a graph where there is one; a graph that is refused is given up.

        Raises:
            InferError: the network failed.
            DeviceError: there was no memory for an output.
        """
        if self._graph is not None and self._launched(self._graph):
            return
        for each in self.grown.values():
            each.allocator.trouble = ""
        if not self._plain():
            short = [each.allocator.trouble for each in self.grown.values() if each.allocator.trouble]
            if short:
                raise DeviceError(short[0])
            raise InferError(self._errors.why() or self._log.why())
        self._ran = True

    def capture(self) -> str | None:
        """Record a run as a graph, once, after the first plain one; the stream must be idle.

        Returns:
            Why the graph was refused, the one time that it is; the plain way stays.
        """
        if self._given_up:
            why, self._given_up = self._given_up, ""
            return why
        if self._graph is not None or self._graph_refused or self.grown or not self._ran:
            return None
        graph = Graph()
        try:
            captured = graph.capture(self._stream.handle, self._plain)
            trouble = graph.trouble
        except DeviceError as error:  # the driver has no graphs
            captured, trouble = False, str(error)
        if captured:
            self._graph = graph
            return None
        graph.close()
        self._graph_refused = True
        why = trouble or self._errors.why() or self._log.why()
        # A broken capture may leave an error behind in TensorRT's own CUDA runtime, which only its next call can tell:
        # this one does, whose results nobody waits for.
        self._plain()
        self._stream.synchronize()
        self._errors.clear()
        return why

    @property
    def as_graph(self) -> bool:
        """Whether runs are launched as a graph."""
        return self._graph is not None

    def close(self) -> None:
        """Let go of graph, context and grown memory, in this order; may be called twice."""
        if self._graph is not None:
            self._graph.close()
        self._graph = None
        self._context = None
        for each in self.grown.values():
            each.free()
        self.grown.clear()

    def _launched(self, graph: Graph) -> bool:
        try:
            graph.launch(self._stream.handle)
        except DeviceError as error:  # no memory for it, say; a lost device tells the plain run too
            graph.close()
            self._graph, self._graph_refused, self._given_up = None, True, str(error)
        return self._graph is not None

    def _plain(self) -> bool:
        return bool(self._context.execute_async_v3(self._stream.handle))

    def _shape(self, tensor: Tensor) -> Shape:
        return tuple(int(length) for length in self._context.get_tensor_shape(tensor.name))

    def _place(self, tensors: Sequence[Tensor], buffers: Mapping[str, Buffer]) -> None:
        for tensor in tensors:
            if tensor.name in buffers:
                taken = self._context.set_tensor_address(tensor.name, buffers[tensor.name].address)
            else:
                grown = self.grown[tensor.name] = GrownOutput(tensor)
                taken = self._context.set_output_allocator(tensor.name, grown.allocator)
            if not taken:
                why = self._errors.why() or self._log.why()
                raise InferError(f"tensor {tensor.name!r}: its memory is refused: {why}")
