"""What can go wrong with a network's description.

ModelError
├── UnknownModelError      no network of that name
└── BadSpecError           a description (yaml) is incomplete or does not fit its file
"""


class ModelError(Exception):
    """Something about a network's description or weights failed."""


class UnknownModelError(ModelError, ValueError):
    """No network has that name."""


class BadSpecError(ModelError, ValueError):
    """A network's description is incomplete, or it contradicts the file beside it."""
