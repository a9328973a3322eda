"""What can go wrong with a network's description, file or weights.

ModelError
├── UnknownModelError      (ValueError) no network of that name
├── BadSpecError           (ValueError) a description (yaml) is incomplete or does not fit its file
├── BadGraphError          (ValueError) a network's file is missing, broken or incomplete
├── UnsupportedGraphError  (ValueError) a graph has operators or types that TensorRT does not take
├── BadWeightsError        (ValueError) weights do not fit the network that they are for
└── MissingLibraryError    (ImportError) onnx or torch is not installed; says what to install
"""


class ModelError(Exception):
    """Something about a network's description, file or weights failed."""


class UnknownModelError(ModelError, ValueError):
    """No network has that name."""


class BadSpecError(ModelError, ValueError):
    """A network's description is incomplete, or it contradicts the file beside it."""


class BadGraphError(ModelError, ValueError):
    """A network's file is missing, broken or incomplete."""


class UnsupportedGraphError(ModelError, ValueError):
    """A graph has operators, types or attributes that TensorRT does not take; the message names the nodes."""


class BadWeightsError(ModelError, ValueError):
    """Weights are missing, too many, or of another shape than the network's; the message names them."""


class MissingLibraryError(ModelError, ImportError):
    """A library that only definitions and graphs need is absent; the message has the line that installs it."""
