"""What TensorRT calls: nothing is lost, and no exception leaves."""

import threading
from typing import Any

import pytest
from trt_bench import Bench


@pytest.fixture
def callbacks(bench: Bench) -> Any:
    return bench.module("callbacks")


@pytest.fixture
def trt(bench: Bench) -> Any:
    return bench.module("library").trt


def test_the_log_tells_errors_first_and_each_once(callbacks: Any, trt: Any) -> None:
    log, severity = callbacks.Log(), trt.ILogger.Severity
    log.native.log(severity.INFO, "chatter")
    assert log.why() == "TensorRT told no reason"
    log.native.log(severity.WARNING, "a warning")
    assert log.why() == "a warning"
    log.native.log(severity.WARNING, "a warning")
    log.native.log(severity.ERROR, "an error")
    log.native.log(severity.INTERNAL_ERROR, "a worse one")
    assert log.why() == "an error; a worse one"
    assert log.why() == "TensorRT told no reason"


def test_the_log_keeps_the_last_lines_of_many(callbacks: Any, trt: Any) -> None:
    log = callbacks.Log()
    for at in range(100_000):
        log.native.log(trt.ILogger.Severity.ERROR, f"error {at}")
    assert log.why().endswith("error 99998; error 99999")


def test_tensorrt_gets_one_logger_for_the_process_and_each_log_hears_what_is_told_from_its_start(
    callbacks: Any, trt: Any
) -> None:
    first = callbacks.Log()
    first.native.log(trt.ILogger.Severity.ERROR, "an old one")
    second = callbacks.Log()
    assert second.native is first.native
    second.native.log(trt.ILogger.Severity.ERROR, "a new one")
    assert second.why() == "a new one"
    assert first.why() == "an old one; a new one"


def test_the_log_tells_first_what_its_own_thread_was_told(callbacks: Any, trt: Any) -> None:
    log, severity = callbacks.Log(), trt.ILogger.Severity

    def elsewhere(text: str) -> None:
        thread = threading.Thread(target=log.native.log, args=(severity.ERROR, text))
        thread.start()
        thread.join()

    elsewhere("of another network")
    log.native.log(severity.ERROR, "of this one")
    assert log.why() == "of this one"
    log.native.log(severity.WARNING, "a warning")
    elsewhere("of a thread of TensorRT's")
    assert log.why() == "of a thread of TensorRT's"


def test_errors_are_counted_under_both_names(callbacks: Any) -> None:
    errors = callbacks.Errors()
    assert errors.report_error("code", "bad shape")
    assert errors.num_errors() == errors.get_num_errors() == 1
    assert (errors.get_error_code(0), errors.get_error_desc(0)) == ("code", "bad shape")
    assert not errors.has_overflowed()
    assert errors.why() == "bad shape"
    assert errors.why() == ""
    errors.report_error("code", "another")
    errors.clear()
    assert errors.num_errors() == 0


def test_progress_tells_every_step_and_asks_after_it(callbacks: Any) -> None:
    told: list[tuple[str, int, int]] = []
    monitor = callbacks.Progress(lambda *each: told.append(each), lambda: len(told) > 3)
    monitor.phase_start("timing", None, 3)
    assert monitor.step_complete("timing", 0)
    assert monitor.step_complete("timing", 1)
    assert not monitor.step_complete("timing", 2)
    monitor.phase_finish("timing")
    assert told == [("timing", 0, 3), ("timing", 1, 3), ("timing", 2, 3), ("timing", 3, 3)]
    assert monitor.cancelled


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_what_the_listener_raises_ends_the_build_and_stays(callbacks: Any, kind: type[BaseException]) -> None:
    def told(phase: str, step: int, steps: int) -> None:
        raise kind("the window is closed")

    monitor = callbacks.Progress(told, lambda: False)
    monitor.phase_start("timing", None, 3)
    assert not monitor.step_complete("timing", 0)
    assert not monitor.cancelled
    assert isinstance(monitor.error, kind)


def test_an_output_without_memory_gives_no_address(callbacks: Any) -> None:
    def grown(nbytes: int) -> int:
        if nbytes > 512:
            raise MemoryError(f"{nbytes} bytes")
        return 4096

    output = callbacks.OutputMemory(grown)
    assert output.reallocate_output_async("y", 0, 512, 256, 1) == 4096
    assert output.reallocate_output("y", 0, 512, 256) == 4096
    assert output.trouble == ""
    assert output.reallocate_output_async("y", 0, 513, 256, 1) == 0
    assert output.trouble == "513 bytes"
    output.notify_shape("y", [3, 7])
    assert output.shape == (3, 7)


def test_times_of_a_layer_add_up(callbacks: Any) -> None:
    times = callbacks.LayerTimes()
    for layer, ms in (("conv", 0.5), ("relu", 0.25), ("conv", 0.5)):
        times.report_layer_time(layer, ms)
    assert times.ms == {"conv": 1.0, "relu": 0.25}
