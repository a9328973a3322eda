"""Work recorded on a stream and launched: by the double's calls here, and through ctypes from test_cuda_real.py."""

import ctypes
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from doubled import Doubles, doubled, real
from gpu_echo import Echo

from headrace.engines.errors import DeviceError


@pytest.fixture
def doubles() -> Iterator[Doubles]:
    with doubled() as each:
        yield each


@pytest.fixture
def device(doubles: Doubles) -> Iterator[Any]:
    from headrace.engines import cuda

    opened = cuda.open_device()
    yield opened
    opened.close()


class Recorded(Echo):
    """The same, also as a graph."""

    def __init__(self) -> None:
        from headrace.engines import cuda, cuda_graph

        super().__init__(cuda)
        self.graph = cuda_graph.Graph()

    def run(self, value: int, *, as_graph: bool) -> set[int]:
        self.given.array[:] = value
        if as_graph:
            self.graph.launch(self.stream.handle)
        else:
            self.enqueue()
        self.stream.synchronize()
        return set(map(int, self.got.array))

    def capture(self, enqueue: Callable[[], bool] | None = None) -> bool:
        return self.graph.capture(self.stream.handle, enqueue or self.enqueue)


@pytest.fixture
def echo(device: Any) -> Iterator[Recorded]:
    made = device.run(Recorded)
    yield made
    device.release(made.graph.close)


def test_what_was_recorded_runs_at_each_launch_on_what_the_memory_holds_then(
    doubles: Doubles, device: Any, echo: Recorded
) -> None:
    assert device.run(lambda: echo.run(1, as_graph=False)) == {1}
    assert device.run(echo.capture)
    assert echo.graph.trouble == ""
    assert device.run(lambda: set(map(int, echo.got.array))) == {1}, "recording runs nothing"
    assert device.run(lambda: [echo.run(value, as_graph=True) for value in (2, 3)]) == [{2}, {3}]
    assert doubles.gpu.launches == 2
    assert device.run(lambda: echo.run(4, as_graph=False)) == {4}, "the plain way stays"
    device.run(echo.graph.close)
    device.run(echo.graph.close)
    assert doubles.gpu.open_graphs == 0


@pytest.mark.parametrize(
    ("call", "code", "name"),
    [
        ("cuStreamBeginCapture_v2", 801, "CUDA_ERROR_NOT_SUPPORTED"),
        ("cuStreamEndCapture", 901, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED"),
        ("cuGraphInstantiateWithFlags", 2, "CUDA_ERROR_OUT_OF_MEMORY"),
        ("cuGraphInstantiateWithFlags", 12345, "CUDA error 12345"),
    ],
)
def test_a_refused_capture_says_which_call_and_leaves_the_plain_way(
    doubles: Doubles, device: Any, echo: Recorded, call: str, code: int, name: str
) -> None:
    doubles.gpu.refuse(call, code)
    assert not device.run(echo.capture)
    assert echo.graph.trouble == f"{call}: {name}"
    assert doubles.gpu.open_graphs == 0
    assert device.run(lambda: echo.run(5, as_graph=False)) == {5}
    assert device.run(echo.capture), "and it may be tried again"


def test_work_that_is_refused_ends_the_capture(doubles: Doubles, device: Any, echo: Recorded) -> None:
    assert not device.run(lambda: echo.graph.capture(echo.stream.handle, lambda: False))
    assert echo.graph.trouble == "the work itself was refused while it was recorded"
    assert device.run(lambda: echo.run(6, as_graph=False)) == {6}
    assert doubles.gpu.open_graphs == 0


def test_an_error_in_the_work_ends_the_capture_and_is_raised(doubles: Doubles, device: Any, echo: Recorded) -> None:
    def fails() -> bool:
        echo.stream.synchronize()  # not allowed while it records
        return True

    with pytest.raises(DeviceError, match="operation not permitted when stream is capturing"):
        device.run(lambda: echo.graph.capture(echo.stream.handle, fails))
    assert device.run(lambda: echo.run(7, as_graph=False)) == {7}
    assert doubles.gpu.open_graphs == 0


def test_a_capture_that_the_work_spoils_is_refused(doubles: Doubles, device: Any, echo: Recorded) -> None:
    def spoils() -> bool:
        with pytest.raises(doubles.driver.LogicError):
            echo.stream.synchronize()
        return echo.enqueue()

    assert not device.run(lambda: echo.graph.capture(echo.stream.handle, spoils))
    assert echo.graph.trouble == "cuStreamEndCapture: CUDA_ERROR_STREAM_CAPTURE_INVALIDATED"
    assert device.run(lambda: echo.run(7, as_graph=False)) == {7}


def test_another_threads_work_on_the_default_stream_goes_on_while_a_graph_is_recorded(
    doubles: Doubles, device: Any, echo: Recorded
) -> None:
    recording, copied = threading.Event(), threading.Event()

    def meanwhile() -> bool:
        recording.set()
        return copied.wait(10) and echo.enqueue()

    address = device.run(lambda: echo.buffer.address)
    captured: list[bool] = []
    with device.lent():  # as a build has it
        recorder = threading.Thread(target=lambda: captured.append(device.run(lambda: echo.capture(meanwhile))))
        recorder.start()
        assert recording.wait(10)
        doubles.driver.memcpy_htod(address, np.zeros(8, np.uint8))
        copied.set()
        recorder.join()
    assert captured == [True], echo.graph.trouble


def test_the_device_goes_on_while_another_thread_records_for_the_whole_process(
    doubles: Doubles, device: Any, echo: Recorded
) -> None:
    """As torch.cuda.graph does where nobody tells it otherwise."""
    from headrace.engines.cuda import Buffer
    from headrace.engines.cuda_graph import library

    echo.value = 3
    with device.lent():
        theirs, graph = doubles.driver.Stream(1), ctypes.c_void_p()
        assert library().cuStreamBeginCapture_v2(ctypes.c_void_p(theirs.handle), 0) == 0
        assert set(map(int, device.start(echo).result(10))) == {3}
        device.run(lambda: Buffer(100).free())
        assert library().cuStreamEndCapture(ctypes.c_void_p(theirs.handle), ctypes.byref(graph)) == 0
        library().cuGraphDestroy(graph)
        del theirs


def test_an_error_while_another_thread_records_does_not_lose_the_device(doubles: Doubles, device: Any) -> None:
    from headrace.engines.cuda import free_bytes
    from headrace.engines.cuda_graph import library

    def fails() -> None:
        raise ValueError("of one call")

    with device.lent():
        theirs, graph = doubles.driver.Stream(1), ctypes.c_void_p()
        assert library().cuStreamBeginCapture_v2(ctypes.c_void_p(theirs.handle), 1) == 0
        with pytest.raises(ValueError, match="of one call"):
            device.run(fails)
        library().cuStreamEndCapture(ctypes.c_void_p(theirs.handle), ctypes.byref(graph))
        del theirs
    assert device.run(free_bytes) > 0


def test_two_captures_on_one_stream_are_refused(device: Any, echo: Recorded) -> None:
    from headrace.engines.cuda_graph import Graph

    inner: list[tuple[bool, str]] = []

    def nested() -> bool:
        second = Graph()
        inner.append((second.capture(echo.stream.handle, echo.enqueue), second.trouble))
        return echo.enqueue()

    assert device.run(lambda: echo.graph.capture(echo.stream.handle, nested))
    assert inner == [(False, "cuStreamBeginCapture_v2: CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED")]
    assert device.run(lambda: echo.run(8, as_graph=True)) == {8}


def test_a_launch_that_fails_says_how(doubles: Doubles, device: Any, echo: Recorded) -> None:
    with pytest.raises(DeviceError, match="cuGraphLaunch: nothing was captured"):
        device.run(lambda: echo.graph.launch(echo.stream.handle))
    assert device.run(echo.capture)
    doubles.gpu.refuse("cuGraphLaunch", 400)
    with pytest.raises(DeviceError, match="cuGraphLaunch failed: CUDA_ERROR_INVALID_HANDLE"):
        device.run(lambda: echo.graph.launch(echo.stream.handle))
    assert device.run(lambda: echo.run(9, as_graph=True)) == {9}


@pytest.mark.skipif(real, reason="here the driver's library loads")
def test_without_the_drivers_library_it_is_said() -> None:
    from headrace.engines.cuda_graph import Graph, library

    with pytest.raises(DeviceError, match=r"CUDA graphs: .* does not load: libcuda\.so\.1: cannot open"):
        library()
    with pytest.raises(DeviceError, match="does not load"):
        Graph().capture(1, lambda: True)
