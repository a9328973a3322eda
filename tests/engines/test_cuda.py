"""The device thread on a GPU that is not there: with the double of pycuda here, and with the real one from
test_cuda_real.py."""

import gc
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from doubled import Doubles, doubled, real
from gpu_echo import Echo

from headrace.engines.errors import ClosedEngineError, DeviceError

WAIT_S = 20


@pytest.fixture
def doubles() -> Iterator[Doubles]:
    with doubled() as each:
        yield each


@pytest.fixture
def cuda(doubles: Doubles) -> Any:
    """The module on top of them: each test has its own."""
    from headrace.engines import cuda

    return cuda


@pytest.fixture
def device(cuda: Any) -> Iterator[Any]:
    opened = cuda.open_device()
    yield opened
    opened.close()


def test_the_device_tells_what_it_is(cuda: Any, device: Any) -> None:
    assert cuda.trouble() is None
    assert (device.name, device.capability, device.total_bytes) == ("Double H9", (9, 0), 8 << 30)
    assert device.driver_version == 13000
    assert str(device) == "GPU 0 (Double H9)"


def test_jobs_run_on_one_thread_of_its_own(device: Any) -> None:
    assert device.run(lambda: threading.current_thread().name) == "hr-cuda-0"
    assert device.run(lambda: device.run(lambda: threading.current_thread().name)) == "hr-cuda-0"


def test_the_thread_is_shared_and_ends_with_the_last_close(cuda: Any, device: Any) -> None:
    again = cuda.open_device()
    assert again is device
    again.close()
    assert device.run(lambda: 1) == 1
    device.close()
    assert "hr-cuda-0" not in [thread.name for thread in threading.enumerate()]
    device.close()  # once too often: nothing happens
    with pytest.raises(ClosedEngineError, match="is closed; open it again with open_device"):
        device.run(lambda: 1)
    with pytest.raises(ClosedEngineError):
        device.start(None).result(WAIT_S)
    device.release(lambda: 1)
    anew = cuda.open_device()
    assert anew is not device
    assert anew.run(lambda: 2) == 2
    anew.close()


def test_many_threads_open_run_and_close(cuda: Any) -> None:
    wrong: list[BaseException] = []

    def user(value: int) -> None:
        try:
            device = cuda.open_device()
            lane = device.run(lambda: Echo(cuda))
            for step in range(5):
                lane.value = (value + step) % 256
                assert set(device.start(lane).result(WAIT_S)) == {lane.value}
            device.release(lane.free)
            device.close()
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=user, args=(7 * each,)) for each in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert not wrong


def test_what_a_job_raises_is_raised_to_its_caller_with_no_native_object_in_tow(cuda: Any, device: Any) -> None:
    def fails() -> None:
        array = cuda.Pinned((100,), np.uint8).array  # held by this frame's variable, and so by the traceback
        raise ValueError(f"{array.nbytes} bytes")

    with pytest.raises(ValueError, match="100 bytes") as caught:
        device.run(fails)
    device.close()  # the pinned memory went with the thread, not with the error that is still held here
    gc.collect()
    assert caught.value.__traceback__ is not None


def test_memory_is_aligned_counted_and_freed(doubles: Doubles, cuda: Any, device: Any) -> None:
    before = device.run(cuda.free_bytes)
    buffer = device.run(lambda: cuda.Buffer(np.int64(1000)))
    assert device.run(lambda: buffer.address) % 256 == 0
    assert before - device.run(cuda.free_bytes) == 1000
    device.release(buffer.free)
    device.release(buffer.free)
    assert device.run(cuda.free_bytes) == before
    buffer.free()  # what is gone may be freed anywhere
    pinned = device.run(lambda: cuda.Pinned((np.int64(2), 3), np.float32))
    assert device.run(lambda: (pinned.array.shape, pinned.array.dtype)) == ((2, 3), np.float32)
    assert doubles.gpu.held_host_bytes == 24
    device.release(pinned.free)


def test_what_was_not_freed_goes_with_the_thread(doubles: Doubles, cuda: Any, device: Any) -> None:
    lane = device.run(lambda: Echo(cuda))
    assert doubles.gpu.held_bytes == 1000
    assert doubles.gpu.held_host_bytes == 2000
    device.close()
    assert doubles.gpu.held_bytes == 0
    assert doubles.gpu.held_host_bytes == 0
    lane.free()


def test_native_objects_are_made_and_freed_on_the_device_thread_only(cuda: Any, device: Any) -> None:
    with pytest.raises(DeviceError, match="on the device thread only"):
        cuda.Buffer(8)
    buffer = device.run(lambda: cuda.Buffer(8))
    with pytest.raises(DeviceError, match="Buffer freed outside the device thread"):
        buffer.free()
    device.release(buffer.free)


def test_too_much_memory_is_refused_with_what_is_needed_and_free(doubles: Doubles, cuda: Any, device: Any) -> None:
    doubles.gpu.set_memory(50_000_000, 3_000_000)
    held = device.run(lambda: cuda.Buffer(20_000_000))
    with pytest.raises(DeviceError, match=r"out of memory: 40\.0 MB needed, 30\.0 MB of .* free; use fewer sessions"):
        device.run(lambda: cuda.Buffer(40_000_000))
    with pytest.raises(DeviceError, match=r"the host has no 4\.0 MB left that can be pinned; use fewer sessions"):
        device.run(lambda: cuda.Pinned((1000, 1000), np.float32))
    assert device.run(lambda: cuda.Buffer(20_000_000)).nbytes == 20_000_000, "the device goes on working"
    with pytest.raises(ValueError, match="got 0 bytes, allowed: 1 or more"):
        device.run(lambda: cuda.Buffer(0))
    device.release(held.free)


def test_a_copy_longer_than_either_side_is_refused(cuda: Any, device: Any) -> None:
    stream, pinned = device.run(cuda.Stream), device.run(lambda: cuda.Pinned((100,), np.uint8))
    small, large = device.run(lambda: cuda.Buffer(50)), device.run(lambda: cuda.Buffer(200))
    with pytest.raises(ValueError, match="got 101 bytes, allowed: up to 100"):
        device.run(lambda: cuda.copy_in(large, pinned, 101, stream))
    with pytest.raises(DeviceError, match="cuMemcpyHtoDAsync failed: invalid argument"):
        device.run(lambda: cuda.copy_in(small, pinned, 51, stream))
    with pytest.raises(DeviceError, match="cuMemcpyDtoHAsync failed: invalid argument"):
        device.run(lambda: cuda.copy_out(pinned, small, 51, stream))


def test_a_prefix_is_copied_and_the_rest_stays(cuda: Any, device: Any) -> None:
    lane = device.run(lambda: Echo(cuda, 6))

    def prefix() -> list[int]:
        lane.given.array[:] = range(6)
        lane.got.array[:] = 9
        cuda.copy_in(lane.buffer, lane.given, 4, lane.stream)
        cuda.copy_out(lane.got, lane.buffer, 4, lane.stream)
        lane.stream.synchronize()
        return list(map(int, lane.got.array))

    assert device.run(prefix) == [0, 1, 2, 3, 9, 9]


def test_the_next_lanes_copy_starts_before_this_lane_is_done(doubles: Doubles, cuda: Any, device: Any) -> None:
    first, second = device.run(lambda: [Echo(cuda), Echo(cuda)])
    first.value, second.value, first.held = 3, 4, True
    running = device.start(first)
    assert first.begun.wait(WAIT_S)
    assert set(device.start(second).result(WAIT_S)) == {4}, "a lane in flight kept the next from running"
    assert not running.done()
    first.held = False
    assert set(running.result(WAIT_S)) == {3}


def test_queued_copies_of_two_lanes_interleave(doubles: Doubles, cuda: Any, device: Any) -> None:
    first, second = device.run(lambda: [Echo(cuda), Echo(cuda)])
    handles = device.run(lambda: (first.stream.handle, second.stream.handle))

    def both() -> Any:
        return device.start(first), device.start(second)

    for future in device.run(both):  # queued at once: the thread begins both before it looks at either
        future.result(WAIT_S)
    happened = [(verb, stream) for verb, stream, what in doubles.gpu.journal() if what == "cuMemcpyDtoHAsync"]
    assert happened.index(("queued", handles[1])) < happened.index(("ran", handles[0]))


def test_an_event_is_done_when_the_stream_has_come_past(cuda: Any, device: Any) -> None:
    lane = device.run(lambda: Echo(cuda))

    def looks() -> list[bool]:
        lane.begin()
        return [lane.event.done() for _ in range(4)]

    assert device.run(looks) == [False, False, True, True]  # two copies and the event itself, one at each look


FAILURES = ["unspecified launch failure", "an illegal memory access was encountered"]


@pytest.mark.parametrize("text", FAILURES)
def test_an_asynchronous_error_loses_the_device(doubles: Doubles, cuda: Any, device: Any, text: str) -> None:
    lanes = device.run(lambda: [Echo(cuda), Echo(cuda)])
    lanes[0].held = True
    waiting = device.start(lanes[0])
    assert lanes[0].begun.wait(WAIT_S)
    doubles.gpu.fail_next(text)
    lost = rf"GPU 0 \(Double H9\) is lost: cuEventQuery failed: {text}; .* start the program again"
    with pytest.raises(DeviceError, match=lost):
        device.start(lanes[1]).result(WAIT_S)
    with pytest.raises(DeviceError, match=lost):
        waiting.result(WAIT_S)
    begun = list(doubles.gpu.journal())
    with pytest.raises(DeviceError, match=lost):
        device.start(lanes[1]).result(WAIT_S)
    with pytest.raises(DeviceError, match=lost):
        device.run(lambda: 1)
    with pytest.raises(DeviceError, match=lost):
        cuda.open_device()
    assert doubles.gpu.journal() == begun, "nothing is tried again in a broken context"
    for lane in lanes:
        device.release(lane.free)
    device.close()


def test_a_gpu_that_does_not_answer_is_lost_and_lets_go(
    cuda: Any, device: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lane = device.run(lambda: Echo(cuda))
    lane.held = True
    monkeypatch.setattr("headrace.engines.device_tasks.PATIENCE_S", 0.0)
    lost = r"GPU 0 \(.*\) is lost: it has not answered for 60 s; .* start the program again"
    with pytest.raises(DeviceError, match=lost):
        device.start(lane).result(WAIT_S)
    with pytest.raises(DeviceError, match=lost):
        device.run(lambda: 1)
    device.release(lane.free)


def test_an_error_that_is_not_the_devices_own_is_explained_when_the_device_is_lost(
    doubles: Doubles, cuda: Any, device: Any
) -> None:
    lane = device.run(lambda: Echo(cuda))
    doubles.gpu.fail_next()

    def fails() -> None:
        lane.begin()
        raise ValueError("TensorRT says: something went wrong")

    with pytest.raises(
        DeviceError,
        match="is lost: cuCtxSynchronize failed: unspecified launch failure, after TensorRT says: something",
    ):
        device.run(fails)


def test_a_lost_gpu_that_keeps_its_context_does_not_take_the_process_with_it(
    doubles: Doubles, cuda: Any, device: Any
) -> None:
    def lends() -> None:
        with device.lent():
            doubles.gpu.refuse("cuCtxPopCurrent_v2", 719)

    thread = threading.Thread(target=lends)
    thread.start()
    thread.join(WAIT_S)
    doubles.gpu.refuse("cuCtxPopCurrent_v2", 719)
    device.close()
    assert doubles.driver.Context.get_current() is None
    anew = cuda.open_device()
    assert anew.run(cuda.free_bytes) == anew.total_bytes
    anew.close()


def test_an_error_of_one_call_leaves_the_device_working(cuda: Any, device: Any) -> None:
    with pytest.raises(DeviceError, match=r"GPU 0 \(Double H9\): cuMemAlloc failed: invalid argument"):
        device.run(lambda: __import__("pycuda.driver").driver.mem_alloc(0))
    assert device.run(lambda: 1) == 1


def test_the_context_is_lent_to_another_thread_for_long_work(doubles: Doubles, device: Any) -> None:
    current = doubles.driver.Context.get_current
    seen: list[Any] = []

    def builds() -> None:
        with device.lent():
            seen.append(current() is not None)
            seen.append(device.run(lambda: 1))  # the device thread is free meanwhile
        seen.append(current())

    thread = threading.Thread(target=builds)
    thread.start()
    thread.join(WAIT_S)
    assert seen == [True, 1, None]
    with pytest.raises(KeyError), device.lent():
        raise KeyError
    assert current() is None
    device.close()
    with pytest.raises(ClosedEngineError), device.lent():
        pass


def test_no_device_of_that_index_is_said_and_leaves_no_thread(cuda: Any) -> None:
    with pytest.raises(DeviceError, match="GPU 3: no such GPU; this machine has 1, counted from 0"):
        cuda.open_device(3)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("hr-")]


def test_a_driver_without_a_device_is_said_by_trouble_and_open(doubles: Doubles, cuda: Any) -> None:
    doubles.gpu.set_devices(0)
    says = "finds no GPU that can be used.*(no CUDA-capable device|counts 0).*nvidia-smi.*--gpus all"
    with pytest.raises(DeviceError, match=says):
        cuda.open_device()
    assert "finds no GPU" in str(cuda.trouble())
    doubles.gpu.set_devices(1)
    assert cuda.trouble() is None, "what was missing is looked for again"
    cuda.open_device().close()


def test_a_context_that_cannot_be_had_is_said(doubles: Doubles, cuda: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = doubles.driver

    class Taken(driver.Device):  # type: ignore[name-defined, misc]
        def retain_primary_context(self) -> None:
            raise driver.LogicError(
                "cuDevicePrimaryCtxRetain failed: CUDA-capable device(s) is/are busy or unavailable"
            )

    monkeypatch.setattr(driver, "Device", Taken)
    with pytest.raises(DeviceError, match=r"GPU 0 \(Double H9\): cannot be opened: .*busy or unavailable"):
        cuda.open_device()


def test_the_real_pycuda_is_what_is_tested_where_it_should_be(doubles: Doubles) -> None:
    assert ("doubles" not in doubles.driver.__file__) == real
