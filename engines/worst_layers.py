"""Which layers of an int8 network cost the most: they are found by measuring on the engines that are here."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.engines.base import Engine
from headrace.engines.catalog import load
from headrace.engines.compare import compare
from headrace.engines.errors import MissingBackendError
from headrace.engines.inputs import Array
from headrace.models.spec import ModelSpec

if TYPE_CHECKING:
    from headrace.models.graph.quantize import Quantizer

Feeds = Mapping[str, Array]
Told = Callable[[str], None]

ENGINES = ("openvino", "onnxruntime")
"""Engines for the CPU that run Q/DQ files; each has its own way with them, and its own mistakes."""
ENOUGH = 0.006
"""A loss that needs no remedy, as a share of the pixels or of the greatest score: on other frames of the same footage
it may be more, and a proof allows 0.01."""
_WORTH = 0.3
"""A layer stays in float where that takes this share of the loss away."""
_MOST_KEPT = 4
_MOST_FEEDS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What was found."""

    layers: tuple[str, ...]
    """Those that stay in float."""
    losses: Mapping[str, float]
    """By engine: how far int8 is then from float32, as a share."""


class WorstLayers:
    """Finds what must stay in float for every engine to be right.

    Args:
        spec: the network, with its float file.
        feeds: what it is tried on.
        told: hears how it goes on.
    """

    def __init__(
        self, spec: ModelSpec, quantizer: "Quantizer", feeds: Sequence[Feeds], *, told: Told = lambda line: None
    ) -> None:
        step = max(1, len(feeds) // _MOST_FEEDS)
        self._spec, self._quantizer, self._feeds = spec, quantizer, feeds[::step][:_MOST_FEEDS]
        self._told = told
        self._engines = {name: build for name in ENGINES if (build := _loaded(name)) is not None}
        self._wanted = {name: self._run(name, spec) for name in self._engines}

    def losses(self, keep: Sequence[str]) -> dict[str, float]:
        """How far int8 is from float32 on each engine that is here, with some layers left in float."""
        with tempfile.TemporaryDirectory(prefix="headrace-") as folder:
            file = Path(folder) / "int8.onnx"
            file.write_bytes(self._quantizer.build(keep))
            return {name: self._loss(name, file) for name in self._engines}

    def find(self, keep: Sequence[str]) -> Kept:
        """Leave more layers in float, the worst first, until every engine is right or no layer is to blame.

        Args:
            keep: those that stay in float anyway.
        """
        found = list(keep)
        losses = self.losses(found)
        while max(losses.values(), default=0.0) > ENOUGH and len(found) < len(keep) + _MOST_KEPT:
            worst = max(losses, key=losses.__getitem__)
            self._told(f"{self._spec.name}: int8 is {losses[worst]:.2%} off on {worst}: looking for the layer")
            layer = self._worst_on(worst, found)
            after = self.losses([*found, layer]) if layer else losses
            if layer is None or after[worst] > (1 - _WORTH) * losses[worst]:
                self._told(f"{self._spec.name}: no layer stands out; it stays {losses[worst]:.2%} off on {worst}")
                break
            self._told(f"{self._spec.name}: {layer} stays in float: {after[worst]:.2%} off on {worst}")
            found.append(layer)
            losses = after
        return Kept(layers=tuple(found), losses=losses)

    def _worst_on(self, name: str, found: Sequence[str]) -> str | None:
        """The layer that is most to blame: the suspects are halved, keeping the half that helps more in float."""
        suspects = [layer for layer in self._quantizer.layers if layer not in found]
        while len(suspects) > 1:
            halves = suspects[: len(suspects) // 2], suspects[len(suspects) // 2 :]
            first, second = (self.losses([*found, *half])[name] for half in halves)
            suspects = halves[0] if first <= second else halves[1]
        return suspects[0] if suspects else None

    def _loss(self, name: str, file: Path) -> float:
        spec = replace(self._spec, weights=replace(self._spec.weights, file=file))
        found = compare(self._spec.outputs, self._wanted[name], self._run(name, spec))
        if found.flaw:
            return 1.0
        labels = 0.0 if found.agreement is None else 1 - found.agreement
        scores = 0.0 if found.mean_error is None else found.mean_error / max(found.greatest, 1e-9)
        return max(labels, scores)

    def _run(self, name: str, spec: ModelSpec) -> list[dict[str, Array]]:
        with self._engines[name](spec) as engine, engine.session() as session:
            return [session.infer(fed) for fed in self._feeds]


def _loaded(name: str) -> Callable[..., Engine] | None:
    try:
        return load(name)
    except MissingBackendError:
        return None
