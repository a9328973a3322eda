"""The networks by name: a bundled one, or a path to an ONNX file with its description beside it."""

from functools import cache
from pathlib import Path

from headrace.models.errors import UnknownModelError
from headrace.models.spec import ModelSpec, Task, spec_from_yaml

BUNDLED = Path(__file__).parent / "bundled"

DEFAULTS: dict[Task, str] = {"segment": "street", "action": "two_stream"}
"""What runs where the user names no network."""


def names() -> tuple[str, ...]:
    """The bundled networks."""
    return tuple(sorted(path.stem for path in BUNDLED.glob("*.yaml") if path.with_suffix(".onnx").is_file()))


@cache
def spec(name: str) -> ModelSpec:
    """The description of a network.

    Args:
        name: a bundled network's name, or the path of an ONNX file with a yaml of the same name beside it.

    Raises:
        UnknownModelError: no such network; the message lists what there is.
        BadSpecError: the description is incomplete.
    """
    if name.endswith(".onnx"):
        path = Path(name)
        if not path.is_file():
            raise UnknownModelError(f"network {name!r}: no such file")
        return spec_from_yaml(path.with_suffix(".yaml"))
    if name not in names():
        raise UnknownModelError(f"network {name!r} is not known; there are: {', '.join(names())} (or a PATH.onnx)")
    return spec_from_yaml(BUNDLED / f"{name}.yaml")
