"""The device thread on a real GPU with the real pycuda; test_cuda_real.py runs it over a libcuda without one."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from gpu_echo import Echo
from peers import missing

from headrace.engines import cuda
from headrace.engines.cuda_graph import Graph
from headrace.engines.errors import DeviceError

pytestmark = pytest.mark.gpu
LENGTH = 8 << 20
WAIT_S = 30


@pytest.fixture
def device() -> Iterator[Any]:
    trouble = cuda.trouble()
    if trouble is not None:
        missing(trouble)
    opened = cuda.open_device()
    yield opened
    opened.close()


def test_the_gpu_tells_what_it_is(device: Any) -> None:
    assert device.name
    assert device.capability >= (5, 0)
    assert 0 < device.run(cuda.free_bytes) <= device.total_bytes
    assert device.driver_version >= 12000


def test_lanes_side_by_side_give_back_what_was_sent(device: Any) -> None:
    before = device.run(cuda.free_bytes)
    lanes = device.run(lambda: [Echo(cuda, LENGTH) for _ in range(4)])
    assert all(device.run(lambda lane=lane: lane.buffer.address) % 256 == 0 for lane in lanes)
    for round_ in range(20):
        for at, lane in enumerate(lanes):
            lane.value = 4 * round_ + at
        for lane, future in [(lane, device.start(lane)) for lane in lanes]:
            got = future.result(WAIT_S)
            assert np.all(got == lane.value)
    for lane in lanes:
        device.release(lane.free)
    assert device.run(cuda.free_bytes) > before - LENGTH, "memory was not given back"


def test_what_was_recorded_runs_at_each_launch(device: Any) -> None:
    lane, graph = device.run(lambda: (Echo(cuda, LENGTH), Graph()))

    def launched(value: int) -> bool:
        lane.given.array[:] = value
        graph.launch(lane.stream.handle)
        lane.stream.synchronize()
        return bool(np.all(lane.got.array == value))

    def recorded() -> bool:
        lane.begin()
        lane.stream.synchronize()
        return graph.capture(lane.stream.handle, lane.enqueue)

    assert device.run(recorded), graph.trouble
    assert all(device.run(lambda value=value: launched(value)) for value in (1, 2, 3))
    device.release(graph.close)
    device.release(lane.free)


def test_a_capture_that_breaks_its_rules_leaves_the_stream_usable(device: Any) -> None:
    lane, graph = device.run(lambda: (Echo(cuda, LENGTH), Graph()))

    def breaks() -> bool:
        lane.stream.synchronize()  # not allowed while it records
        return True

    with pytest.raises(DeviceError, match="captur"):
        device.run(lambda: graph.capture(lane.stream.handle, breaks))
    lane.value = 9
    assert np.all(device.start(lane).result(WAIT_S) == 9)
    device.release(lane.free)


def test_too_much_memory_is_refused_and_the_gpu_goes_on(device: Any) -> None:
    with pytest.raises(DeviceError, match=r"out of memory: .* MB needed, .* MB of .* MB free"):
        device.run(lambda: cuda.Buffer(device.total_bytes + (1 << 30)))
    lane = device.run(lambda: Echo(cuda))
    lane.value = 7
    assert np.all(device.start(lane).result(WAIT_S) == 7)
    device.release(lane.free)
