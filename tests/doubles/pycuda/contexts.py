"""Devices and contexts."""

import os
import threading

from pycuda.errors import LaunchError, LogicError, RuntimeError
from pycuda.machine import gpu, need, require_alive, require_no_capture, stack
from pycuda.streams import drain_all


def init(flags=0):
    if gpu.devices == 0:
        raise RuntimeError("cuInit failed: no CUDA-capable device is detected")
    gpu.initialised = True


def get_version():
    return (13, 0, 0)


def get_driver_version():
    return 13000


class Context:
    def __init__(self, device, *, primary):
        self._thread = threading.get_ident()
        self._device, self._primary, self._valid = device, primary, True

    @property
    def handle(self):
        return 0xC0DE if self._primary else id(self)

    def push(self):
        stack().append(self)

    @staticmethod
    def pop():
        if gpu.refused.pop("cuCtxPopCurrent_v2", 0):
            raise LaunchError("cuCtxPopCurrent failed: unspecified launch failure")
        if not stack():
            raise LogicError("context::pop failed: invalid device context - cannot pop non-current context")
        stack().pop()

    @staticmethod
    def get_current():
        while stack() and not stack()[-1]._valid:
            stack().pop()
        return stack()[-1] if stack() else None

    @staticmethod
    def get_device():
        return need("cuCtxGetDevice")._device

    @staticmethod
    def synchronize():
        need("cuCtxSynchronize")
        require_no_capture("cuCtxSynchronize")
        drain_all()
        require_alive("cuCtxSynchronize")

    def detach(self):
        if not self._valid:
            raise LogicError("context::detach failed: invalid device context - cannot detach from invalid context")
        self._valid = False
        Context.get_current()


class Device:
    def __init__(self, number):
        if not gpu.initialised:
            raise LogicError("cuDeviceGet failed: initialization error")
        if not 0 <= number < gpu.devices:
            raise LogicError("cuDeviceGet failed: invalid device ordinal")
        self._number = number

    @staticmethod
    def count():
        if not gpu.initialised:
            raise LogicError("cuDeviceGetCount failed: initialization error")
        return gpu.devices

    def name(self):
        return os.environ.get("DOUBLE_TRT_GPU", "Double H9")

    def compute_capability(self):
        text = os.environ.get("DOUBLE_TRT_CAPABILITY", "9.0")
        major, minor = text.split(".")
        return (int(major), int(minor))

    def total_memory(self):
        return gpu.total

    def pci_bus_id(self):
        return f"0000:0{self._number}:00.0"

    def retain_primary_context(self):
        return Context(self, primary=True)

    def make_context(self, flags=0):
        context = Context(self, primary=False)
        context.push()
        return context
