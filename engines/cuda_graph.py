"""Work queued once and launched as a whole: stream capture, which pycuda does not have, by the driver's own calls."""

import ctypes
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any

from headrace.engines.errors import DeviceError

_THREAD_LOCAL = 1
"""CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: what other threads do meanwhile, a build say, does not spoil the capture."""
_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "cuStreamBeginCapture_v2": (ctypes.c_void_p, ctypes.c_int),
    "cuStreamEndCapture": (ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p)),
    "cuGraphInstantiateWithFlags": (ctypes.POINTER(ctypes.c_void_p), ctypes.c_void_p, ctypes.c_ulonglong),
    "cuGraphLaunch": (ctypes.c_void_p, ctypes.c_void_p),
    "cuGraphDestroy": (ctypes.c_void_p,),
    "cuGraphExecDestroy": (ctypes.c_void_p,),
    "cuThreadExchangeStreamCaptureMode": (ctypes.POINTER(ctypes.c_int),),
    "cuGetErrorName": (ctypes.c_int, ctypes.POINTER(ctypes.c_char_p)),
}


def ignore_other_captures() -> None:
    """Let the calling thread go on while another records a graph for the whole process, as torch does by default.

    Otherwise plain calls fail here meanwhile, and spoil that graph.

    Raises:
        DeviceError: the driver has no graphs.
    """
    _call("cuThreadExchangeStreamCaptureMode", ctypes.byref(ctypes.c_int(_THREAD_LOCAL)))


class Graph:
    """What was captured on one stream: fixed shapes, addresses and execution context.

    All calls on the device thread; `close` before what the graph works on is freed.
    """

    def __init__(self) -> None:
        self._executable = ctypes.c_void_p()
        self.trouble = ""
        """Why the last capture was refused; empty where it was not."""

    def capture(self, stream_handle: int, enqueue: Callable[[], bool]) -> bool:
        """Record what `enqueue` queues on that stream, instead of running it.

        `enqueue` must have run once as it is, with the same shapes and addresses, and the stream must be idle.

        Returns:
            False where the driver or `enqueue` refused: the stream is as before, and can be used without a graph.

        Raises:
            whatever `enqueue` raises; the capture has been ended.
        """
        self.close()
        stream, graph = ctypes.c_void_p(stream_handle), ctypes.c_void_p()
        if not self._worked("cuStreamBeginCapture_v2", stream, _THREAD_LOCAL):
            return False
        queued = False
        try:
            queued = enqueue()
        finally:
            ended = self._worked("cuStreamEndCapture", stream, ctypes.byref(graph))
            if not (queued and ended) and graph:
                _call("cuGraphDestroy", graph)
        if not queued:
            self.trouble = self.trouble or "the work itself was refused while it was recorded"
        if not (queued and ended and graph):
            return False
        made = self._worked("cuGraphInstantiateWithFlags", ctypes.byref(self._executable), graph, 0)
        _call("cuGraphDestroy", graph)
        return made

    def launch(self, stream_handle: int) -> None:
        """Queue what was captured, as one piece.

        Raises:
            DeviceError: the driver refused, or nothing was captured.
        """
        if not self._executable:
            raise DeviceError("cuGraphLaunch: nothing was captured")
        code = _call("cuGraphLaunch", self._executable, ctypes.c_void_p(stream_handle))
        if code:
            raise DeviceError(f"cuGraphLaunch failed: {_name(code)}")

    def close(self) -> None:
        """Let go of it; may be called twice."""
        self.trouble = ""
        if self._executable:
            _call("cuGraphExecDestroy", self._executable)
            self._executable = ctypes.c_void_p()

    def _worked(self, function: str, *arguments: Any) -> bool:
        code = _call(function, *arguments)
        if code:
            self.trouble = self.trouble or f"{function}: {_name(code)}"
        return code == 0


@cache
def library() -> Any:
    """The driver's library, with the signatures of what is called here.

    Raises:
        DeviceError: it does not load, or is older than the calls.
    """
    try:
        loaded = ctypes.CDLL("libcuda.so.1")
        for function, arguments in _SIGNATURES.items():
            getattr(loaded, function).argtypes = arguments
    except (OSError, AttributeError) as error:
        raise DeviceError(f"CUDA graphs: the NVIDIA driver's library does not load: {error}") from error
    return loaded


def _call(function: str, *arguments: Any) -> int:
    return int(getattr(library(), function)(*arguments))


def _name(code: int) -> str:
    found = ctypes.c_char_p()
    with suppress(DeviceError):
        _call("cuGetErrorName", code, ctypes.byref(found))
    return found.value.decode() if found.value else f"CUDA error {code}"
