"""Streams and events: work queued runs later, one piece at each look."""

import time
import weakref
from collections import deque

from pycuda.errors import Error, LaunchError, LogicError
from pycuda.machine import dispose, gpu, handles, lock, need, need_owner, require_alive, require_safe, streams


class event_flags:
    DEFAULT, BLOCKING_SYNC, DISABLE_TIMING, INTERPROCESS = 0, 1, 2, 4


class Stream:
    def __init__(self, flags=0):
        self._context = need_owner()
        require_alive("cuStreamCreate")
        self._blocking = not flags & 1
        self._pending = deque()
        self._capture = None
        self._capture_mode = 0
        self._spoiled = False
        with lock:
            handles[0] += 16
            self._handle = handles[0]
            streams[self._handle] = self

    @property
    def handle(self):
        return self._handle

    def synchronize(self):
        need("cuStreamSynchronize")
        if self._capture is not None:
            self._spoiled = True  # the capture cannot be ended well any more
            raise LogicError("cuStreamSynchronize failed: operation not permitted when stream is capturing")
        self._drain()
        require_alive("cuStreamSynchronize")

    def is_done(self):
        self._advance()
        require_alive("cuStreamQuery")
        return not self._pending

    def wait_for_event(self, event):
        mark = event._mark
        if mark is not None:
            self._queue("wait for event", mark.reach)

    def _queue(self, what, work):
        """Put work at the end; while a capture goes on it is recorded instead."""
        if self._capture is not None:
            self._capture.append((what, work))
            return
        gpu.events.append(("queued", self._handle, what))
        self._pending.append((what, work))

    def _advance(self):
        """Run the piece of work that is next."""
        with lock:
            if self._pending and gpu.broken is None:
                what, work = self._pending.popleft()
                try:
                    if gpu.failure is not None:
                        # Of the errors that break a context only those of a launch have a class of their own.
                        raise (LaunchError if "launch" in gpu.failure else LogicError)(gpu.failure)
                    work()
                except Error as error:
                    gpu.broken = (type(error), str(error).rsplit(" failed: ", 1)[-1])
                    return
                gpu.events.append(("ran", self._handle, what))

    def _drain(self):
        with lock:
            while self._pending and gpu.broken is None:
                self._advance()

    def __del__(self):
        context = getattr(self, "_context", None)
        if context is not None:
            dispose("stream", context, self._drain)


def drain_all():
    for stream in list(streams.values()):
        if stream._capture is None:
            stream._drain()


def enqueue(handle, work):
    """Queue `work` on the stream of that handle: how the double of TensorRT runs on it.

    A driver Error that it raises is an asynchronous one: the next look at the device tells it.
    """
    stream_of(handle)._queue("launch", work)


def drain(handle):
    """Run all that is queued on the stream of that handle."""
    stream_of(handle)._drain()


def use_default_stream(call):
    """The default stream waits for every stream that is not made non-blocking: not for one that is recorded on."""
    for stream in list(streams.values()):
        if stream._blocking and stream._capture is not None:
            stream._spoiled = True
            raise LogicError(
                f"{call} failed: operation would make the legacy stream depend on a capturing blocking stream"
            )


def stream_of(handle):
    stream = streams.get(int(handle))
    if stream is None:
        raise AssertionError(f"there is no stream {handle}: it was destroyed, or is the default stream")
    return stream


def a_stream(stream):
    if stream is not None and not isinstance(stream, Stream):
        raise TypeError(
            "No registered converter was able to extract a C++ reference to type pycuda::stream from this Python "
            f"object of type {type(stream).__name__}"
        )
    return stream


class _Mark:
    """A place in a stream's queue; what waits in a queue must not keep the stream."""

    def __init__(self, stream):
        self._stream, self.passed, self.at = weakref.ref(stream), False, None

    def run(self):
        self.passed, self.at = True, time.perf_counter()

    def reach(self):
        while self.step() is False and gpu.broken is None:
            pass

    def step(self):
        stream = self._stream()
        if not self.passed and stream is not None:
            stream._advance()
        return self.passed or stream is None


class Event:
    def __init__(self, flags=0):
        self._context = need_owner()
        require_alive("cuEventCreate")
        self._timed = not flags & event_flags.DISABLE_TIMING
        self._mark = None

    def record(self, stream=None):
        need("cuEventRecord")
        if a_stream(stream) is None:
            raise NotImplementedError("the double has no default stream for events")
        self._mark = _Mark(stream)
        stream._queue("event", self._mark.run)
        return self

    def synchronize(self):
        need("cuEventSynchronize")
        if self._mark is not None:
            self._mark.reach()
        require_alive("cuEventSynchronize")
        return self

    def query(self):
        need("cuEventQuery")
        require_safe("cuEventQuery")
        done = self._mark is None or self._mark.step()
        require_alive("cuEventQuery")
        return done

    def time_till(self, other):
        if not (self._timed and other._timed and self._mark and other._mark):
            raise LogicError("cuEventElapsedTime failed: invalid resource handle")
        return (other._mark.at - self._mark.at) * 1e3

    def time_since(self, other):
        return other.time_till(self)

    def __del__(self):
        context = getattr(self, "_context", None)
        if context is not None:
            dispose("event", context, lambda: None)
