"""The pretended GPU, and each thread's stack of contexts."""

import threading
import warnings
import weakref

from pycuda.errors import LogicError

lock = threading.RLock()
_local = threading.local()


class Gpu:
    """The state that the driver has for all of the process; for tests it is `gpu`, as tests/doubled.py says."""

    def __init__(self):
        self.reset()

    def reset(self):
        """A machine as new; each test imports this module anew, so nothing of the last one is left."""
        self.initialised = False
        self.devices = 1
        self.total = 8 << 30
        self.host_limit = 0
        self.blocks = {}  # address -> (bytes, memory)
        self.held_host_bytes = 0
        self.failure = None  # what the next piece of work fails with
        self.broken = None  # what every call raises from then on: (class, text)
        self.stacks = {}  # thread -> its contexts
        self.events = []
        self.refused = {}  # call -> code that it returns once
        self.graphs = {}  # handle -> recorded work
        self.launches = 0
        streams.clear()

    @property
    def held_bytes(self):
        return sum(size for size, _ in self.blocks.values())

    @property
    def open_graphs(self):
        return len(self.graphs)

    def journal(self):
        return list(self.events)

    def fail_next(self, text="unspecified launch failure"):
        self.failure = text

    def set_memory(self, total, host_limit=0):
        self.total, self.host_limit = total, host_limit

    def set_devices(self, count):
        self.devices = count

    def refuse(self, call, code):
        self.refused[call] = code

    def leaked(self):
        return [thread.name for thread, stack in self.stacks.items() if stack and not thread.is_alive()]


streams = weakref.WeakValueDictionary()  # handle -> Stream
handles = [0x5000]
gpu = Gpu()


def stack():
    """The calling thread's contexts, as pycuda counts them."""
    contexts = getattr(_local, "contexts", None)
    if contexts is None:
        contexts = _local.contexts = gpu.stacks.setdefault(threading.current_thread(), [])
    return contexts


def need(call):
    """The current context, as every call needs one."""
    if not gpu.initialised:
        raise LogicError(f"{call} failed: initialization error")
    if not stack():
        raise LogicError(f"{call} failed: invalid device context")
    require_alive(call)
    return stack()[-1]


def need_owner():
    """The same for what pycuda ties to a context of its own, which it looks for itself."""
    if not stack():
        raise LogicError("explicit_context_dependent failed: invalid device context - no currently active context?")
    return stack()[-1]


def require_alive(call):
    if gpu.broken is not None:
        raise gpu.broken[0](f"{call} failed: {gpu.broken[1]}")


def exchange_capture_mode(mode):
    """Sets and gives the calling thread's: 0, which it has at first, minds graphs recorded for the whole process."""
    before, _local.capture_mode = getattr(_local, "capture_mode", 0), mode
    return before


def require_safe(call):
    """Refuse what may spoil a graph that another thread records for the whole process, and spoil it."""
    if getattr(_local, "capture_mode", 0) == 0:
        require_no_capture(call, modes=(0,))


def require_no_capture(call, modes=(0, 1, 2)):
    """Refuse what includes streams on which a graph is recorded, and spoil it."""
    for stream in list(streams.values()):
        if stream._capture is not None and stream._capture_mode in modes:
            stream._spoiled = True
            raise LogicError(f"{call} failed: operation not permitted when stream is capturing")


def dispose(kind, context, free):
    """The rule of pycuda's destructors: without the context, and on another thread, warn and leak."""
    if (stack() and stack()[-1] is context) or threading.get_ident() == context._thread:
        free()
    else:
        warnings.warn(f"{kind} in out-of-thread context could not be cleaned up", UserWarning, stacklevel=3)
