"""What a network is: descriptions, architectures, weights. No threads, no devices."""

from headrace.models.catalog import names, spec
from headrace.models.errors import BadSpecError, ModelError, UnknownModelError
from headrace.models.spec import ClipSpec, ModelSpec, TensorSpec

__all__ = ["BadSpecError", "ClipSpec", "ModelError", "ModelSpec", "TensorSpec", "UnknownModelError", "names", "spec"]
