"""The exceptions of pycuda.driver; two have the names of built-in ones and are others."""


class Error(Exception):
    pass


class LogicError(Error):
    pass


class MemoryError(Error):  # as in pycuda: not the built-in one
    pass


class RuntimeError(Error):  # as in pycuda: not the built-in one
    pass


class LaunchError(Error):
    pass
