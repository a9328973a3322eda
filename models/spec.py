"""What a network is, as data: its tensors, labels, clip and weights."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from headrace.models.errors import BadSpecError

Task = Literal["segment", "action"]
Dtype = Literal["uint8", "float32", "float16", "int64"]

TASKS: tuple[Task, ...] = ("segment", "action")
IGNORE = 255
"""The class id that means "no class": never drawn, never counted."""
_REQUIRED = ("name", "task", "summary", "size", "labels")
_TENSOR = ("name", "shape", "dtype", "layout")
_SECTIONS = {
    "inputs": _TENSOR,
    "outputs": _TENSOR,
    "clip": ("length_s", "spacing_s", "hop_s", "size", "images_at"),
    "weights": ("licence", "trained_on", "recipe", "score"),
}
"""What a description must have beside those; `clip` only for an action network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """One input or output of a network."""

    name: str
    shape: tuple[int | None, ...]
    """None where the length is free (the batch)."""
    dtype: Dtype
    layout: str
    """Axis letters, one per dimension: "BHWC", "BTHWC", "BHW", "BC"."""

    def __post_init__(self) -> None:
        if len(self.layout) != len(self.shape):
            raise BadSpecError(f"tensor {self.name!r}: layout {self.layout!r} does not fit shape {self.shape}")

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Whether an array of this shape may be fed."""
        return len(shape) == len(self.shape) and all(
            want in (None, got) for want, got in zip(self.shape, shape, strict=True)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipSpec:
    """How a clip is cut from a stream, in seconds of presentation time."""

    length_s: float
    spacing_s: float
    """Between neighbouring instants; there are length_s / spacing_s + 1 instants."""
    hop_s: float
    """From the end of one clip to the end of the next."""
    size: tuple[int, int]
    """(width, height) of the pictures of the clip and of the flow, in pixels."""
    images_at: tuple[int, ...]
    """Which instants (0 = oldest) the spatial stream sees."""
    flow: str = "farneback"

    @property
    def instants(self) -> int:
        """How many instants a clip has."""
        return round(self.length_s / self.spacing_s) + 1

    def __post_init__(self) -> None:
        if self.spacing_s <= 0 or self.hop_s <= 0 or self.length_s < self.spacing_s:
            raise BadSpecError(
                f"clip: length_s {self.length_s}, spacing_s {self.spacing_s}, hop_s {self.hop_s}: "
                "all must be positive and length_s at least spacing_s"
            )
        if any(not 0 <= at < self.instants for at in self.images_at):
            raise BadSpecError(f"clip: images_at {self.images_at} must lie in 0..{self.instants - 1}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Where the weights are and what they are worth."""

    file: Path
    """The ONNX file."""
    licence: str
    trained_on: str
    recipe: str
    """The command that made them."""
    score: str
    """What they score, on what, as one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """A network: what goes in, what comes out, what the numbers mean."""

    name: str
    task: Task
    summary: str
    paper: str = ""
    """Empty: not stated, as `year` and `parameters` are where they are 0."""
    year: int = 0
    parameters: int = 0
    size: tuple[int, int]
    """(width, height) of the picture that goes in, in pixels."""
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    labels: tuple[str, ...]
    """Name of each class id, in order."""
    weights: Weights
    colours: tuple[tuple[int, int, int], ...] = ()
    """RGB of each class; empty: taken from a palette."""
    clip: ClipSpec | None = None
    """How clips are cut; None for a network that sees single frames."""

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise BadSpecError(f"{self.name}: task {self.task!r} is not one of {', '.join(TASKS)}")
        if self.task == "action" and self.clip is None:
            raise BadSpecError(f"{self.name}: an action network needs a clip section")
        if self.colours and len(self.colours) != len(self.labels):
            raise BadSpecError(f"{self.name}: {len(self.colours)} colours for {len(self.labels)} labels")


def spec_from_yaml(path: Path) -> ModelSpec:
    """Read a network's description; its ONNX file is the one of the same name beside it.

    Raises:
        BadSpecError: fields are missing (all are named, with the file), or one is unknown or of the wrong kind.
    """
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadSpecError(f"{path} is missing: a network needs its description beside {path.stem}.onnx") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadSpecError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict):
        raise BadSpecError(f"{path}: expected fields, found {type(found).__name__}")
    missing = _missing(found)
    if missing:
        raise BadSpecError(f"{path}: missing: {', '.join(missing)}")
    try:
        return _spec_from_fields(found, path.with_suffix(".onnx"))
    except TypeError as error:
        raise BadSpecError(f"{path}: {error}") from error


def _missing(found: dict[str, Any]) -> list[str]:
    """All that a description lacks, so that nobody learns of it one failure at a time."""
    missing = [name for name in _REQUIRED if found.get(name) is None]
    for section, names in _SECTIONS.items():
        given = found.get(section)
        if given is not None:
            parts = {f"{section}[{at}]": part for at, part in enumerate(given)} if isinstance(given, list) else {}
            for where, part in (parts or {section: given}).items():
                missing += [f"{where}.{name}" for name in names if isinstance(part, dict) and part.get(name) is None]
        elif section != "clip" or found.get("task") == "action":
            missing.append(f"{section} (with {', '.join(names)})")
    return missing


def _spec_from_fields(found: dict[str, Any], onnx: Path) -> ModelSpec:
    clip = found.get("clip")
    weights = found["weights"]
    return ModelSpec(
        name=found["name"],
        task=found["task"],
        summary=found["summary"],
        paper=found.get("paper") or "",
        year=int(found.get("year") or 0),
        parameters=int(found.get("parameters") or 0),
        size=_size(found["size"]),
        inputs=tuple(_tensor(each) for each in found["inputs"]),
        outputs=tuple(_tensor(each) for each in found["outputs"]),
        labels=tuple(str(each) for each in found["labels"]),
        colours=tuple((int(r), int(g), int(b)) for r, g, b in found.get("colours", ())),
        clip=None if clip is None else ClipSpec(**_clip_fields(clip)),
        weights=Weights(file=onnx, **weights),
    )


def _size(pair: list[int]) -> tuple[int, int]:
    width, height = pair
    return int(width), int(height)


def _tensor(fields: dict[str, Any]) -> TensorSpec:
    return TensorSpec(**{**fields, "shape": tuple(fields["shape"])})


def _clip_fields(fields: dict[str, Any]) -> dict[str, Any]:
    return {**fields, "size": _size(fields["size"]), "images_at": tuple(fields["images_at"])}
