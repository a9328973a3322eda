"""Stands in for the driver's library where graphs are made."""

from typing import ClassVar

from pycuda.machine import exchange_capture_mode, gpu, handles, streams


class Libcuda:
    """The calls that headrace.engines.cuda_graph makes: what is recorded on a stream can be launched."""

    NAMES: ClassVar = {
        1: b"CUDA_ERROR_INVALID_VALUE",
        2: b"CUDA_ERROR_OUT_OF_MEMORY",
        400: b"CUDA_ERROR_INVALID_HANDLE",
        801: b"CUDA_ERROR_NOT_SUPPORTED",
        900: b"CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
        901: b"CUDA_ERROR_STREAM_CAPTURE_INVALIDATED",
    }

    def cuStreamBeginCapture_v2(self, handle, mode):
        if code := gpu.refused.pop("cuStreamBeginCapture_v2", 0):
            return code
        stream = streams.get(handle.value)
        if stream is None or mode not in (0, 1, 2):
            return 1
        if stream._capture is not None:
            return 900
        stream._capture, stream._capture_mode = [], mode
        return 0

    def cuThreadExchangeStreamCaptureMode(self, mode):
        mode._obj.value = exchange_capture_mode(mode._obj.value)
        return 0

    def cuStreamEndCapture(self, handle, out):
        stream = streams.get(handle.value)
        if stream is None or stream._capture is None:
            return 1
        recorded, stream._capture = stream._capture, None
        spoiled, stream._spoiled = stream._spoiled, False
        if spoiled:
            return 901
        return gpu.refused.pop("cuStreamEndCapture", 0) or self._keep(out, recorded)

    def cuGraphInstantiateWithFlags(self, out, graph, flags):
        code = gpu.refused.pop("cuGraphInstantiateWithFlags", 0)
        return code or self._keep(out, list(gpu.graphs[graph.value]))

    def cuGraphDestroy(self, graph):
        return 0 if gpu.graphs.pop(graph.value, None) is not None else 1

    cuGraphExecDestroy = cuGraphDestroy

    def cuGraphLaunch(self, graph, handle):
        if code := gpu.refused.pop("cuGraphLaunch", 0):
            return code
        stream = streams.get(handle.value)
        if stream is None or graph.value not in gpu.graphs:
            return 400
        gpu.launches += 1
        for what, work in gpu.graphs[graph.value]:
            stream._queue(what, work)
        return 0

    def cuGetErrorName(self, code, out):
        out._obj.value = self.NAMES.get(code)
        return 0 if code in self.NAMES else 1

    def _keep(self, out, recorded):
        handles[0] += 16
        gpu.graphs[handles[0]] = recorded
        out._obj.value = handles[0]
        return 0


libcuda = Libcuda()
