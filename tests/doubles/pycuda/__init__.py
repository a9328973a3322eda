"""A double of pycuda: `pycuda.driver` on host memory, with its rules about threads and contexts."""

VERSION = (2026, 1)
VERSION_TEXT = "2026.1"
