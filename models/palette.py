"""Colours of classes, for networks whose description brings none."""

from headrace.models.spec import ModelSpec

Rgb = tuple[int, int, int]

PALETTE: tuple[Rgb, ...] = (
    (92, 158, 230),
    (176, 112, 92),
    (240, 208, 80),
    (128, 96, 168),
    (226, 148, 196),
    (92, 178, 92),
    (240, 140, 60),
    (168, 148, 112),
    (64, 196, 208),
    (232, 72, 88),
    (192, 64, 200),
    (150, 200, 60),
)
"""Well apart from each other on a picture; used in order, again from the start where classes are more."""


def colours(spec: ModelSpec) -> tuple[Rgb, ...]:
    """The RGB of each class of a network."""
    return spec.colours or tuple(PALETTE[at % len(PALETTE)] for at in range(len(spec.labels)))
