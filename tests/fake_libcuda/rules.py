"""pycuda's rules about threads and contexts, as scenarios: run as `python rules.py NAME`, once with the double on the
path and once with the real pycuda. Both must print the same; test_cuda_rules.py has the text."""

import gc
import os
import sys
import threading
import time
import warnings

import numpy as np
import pycuda.driver as cuda

context = None


def show(what, call):
    """Print what a call gives or raises; Boost.Python adds the signatures that it has, which are left out."""
    try:
        print(f"{what}: {call()}")
    except Exception as error:
        kind = "TypeError" if isinstance(error, TypeError) else type(error).__name__
        print(f"{what}: {kind}: {str(error).split(' did not match')[0].splitlines()[0]}")


def held():
    free, total = cuda.mem_get_info()
    return total - free


def in_thread(work, *, pushed):
    def body():
        if pushed:
            context.push()
        try:
            work()
        finally:
            if pushed:
                cuda.Context.pop()

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()


def echo():
    """Bytes to the device and back."""
    stream, memory = cuda.Stream(), cuda.mem_alloc(1024)
    given, got = cuda.pagelocked_empty(1024, np.uint8), cuda.pagelocked_empty(1024, np.uint8)
    given[:] = 7
    cuda.memcpy_htod_async(memory, given, stream)
    cuda.memcpy_dtoh_async(got, memory, stream)
    stream.synchronize()
    return int(got.sum())


def no_context():
    show("stream", cuda.Stream)
    show("event", cuda.Event)
    show("memory", lambda: cuda.mem_alloc(4))
    show("pinned", lambda: cuda.pagelocked_empty(4, np.uint8))
    show("free bytes", cuda.mem_get_info)
    show("synchronize", cuda.Context.synchronize)
    show("pop", cuda.Context.pop)


def primary_in_every_thread():
    print("retaining pushes:", cuda.Context.get_current() is not None)
    sums = []
    for _ in range(3):
        in_thread(lambda: sums.append(echo()), pushed=True)
    print("threads:", sums)
    context.push()
    print("here:", echo(), "held:", held())
    cuda.Context.pop()


def pushed_elsewhere():
    context.push()
    in_thread(lambda: show("another thread", echo), pushed=False)
    cuda.Context.pop()


def thread_ends_with_it_pushed():
    thread = threading.Thread(target=context.push)
    print("before", flush=True)
    thread.start()
    thread.join()
    while os.path.exists(f"/proc/self/task/{thread.native_id}"):
        time.sleep(0.001)  # the system's thread ends a little after Python's, and there the real one aborts
    double = getattr(cuda, "gpu", None)
    if double is not None and double.leaked():
        os.abort()
    print("survived")


def dropped_without_it():
    context.push()
    box = [cuda.mem_alloc(4096), cuda.Stream(), cuda.Event(), cuda.pagelocked_empty(64, np.uint8)]
    cuda.Context.pop()

    def drop():
        box.clear()
        gc.collect()

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        in_thread(drop, pushed=False)
    for each in caught:
        print(f"{each.category.__name__}: {each.message}")
    context.push()
    print("held:", held())
    box.append(cuda.mem_alloc(4096))
    cuda.Context.pop()
    in_thread(drop, pushed=True)
    context.push()
    print("held after one that was dropped where it is pushed:", held())
    box.append(cuda.mem_alloc(4096))
    cuda.Context.pop()
    drop()
    context.push()
    print("held after one that was dropped by the maker of the context:", held())
    cuda.Context.pop()


def wrong_arguments():
    context.push()
    show("too much", lambda: cuda.mem_alloc(1 << 40))
    show("nothing", lambda: cuda.mem_alloc(0))
    show("numpy size", lambda: cuda.mem_alloc(np.int64(8)))
    show("numpy shape", lambda: cuda.pagelocked_empty((np.int64(2), 3), np.float32))
    memory = cuda.mem_alloc(8)
    show("beyond its end", lambda: cuda.memcpy_htod(memory, np.zeros(100, np.uint8)))
    show("gaps", lambda: cuda.memcpy_htod(memory, np.zeros((2, 8), np.uint8)[:, ::2]))
    show("read only", lambda: cuda.memcpy_dtoh(memoryview(b"12345678"), memory))
    show("a handle for a stream", lambda: cuda.memcpy_htod_async(memory, np.zeros(8, np.uint8), 5))
    show("address", lambda: int(memory) % 256)
    memory.free()
    show("freed twice", memory.free)
    show("no such device", lambda: cuda.Device(9))
    cuda.Context.pop()


def work_comes_later():
    context.push()
    stream, event, memory = cuda.Stream(), cuda.Event(cuda.event_flags.DISABLE_TIMING), cuda.mem_alloc(8)
    given, got = cuda.pagelocked_empty(8, np.uint8), cuda.pagelocked_empty(8, np.uint8)
    given[:], got[:] = 1, 0
    show("never recorded", event.query)
    cuda.memcpy_htod_async(memory, given, stream)
    cuda.memcpy_dtoh_async(got, memory, stream)
    event.record(stream)
    given[:] = 2  # pinned memory is read when the copy runs
    print("queries:", event.query(), event.query(), event.query(), "got:", got.tolist())
    staged = np.full(8, 3, np.uint8)
    cuda.memcpy_htod_async(memory, staged, stream)
    staged[:] = 4  # other memory is staged
    cuda.memcpy_dtoh_async(got, memory, stream)
    print("done:", stream.is_done())
    stream.synchronize()
    print("done:", stream.is_done(), "got:", got.tolist())
    started, ended = cuda.Event().record(stream), cuda.Event().record(stream)
    ended.synchronize()
    print("time:", started.time_till(ended) >= 0, ended.time_since(started) >= 0)
    del stream, event, memory, given, got, started, ended
    print("held:", held())
    cuda.Context.pop()


if __name__ == "__main__":
    warnings.simplefilter("error")
    cuda.init()
    context = cuda.Device(0).retain_primary_context()
    globals()[sys.argv[1]]()
    print("end", flush=True)
