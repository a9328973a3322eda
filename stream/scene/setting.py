"""What a setting (street, room) hands to the world: a painted background and who lives in front of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from headrace.stream.scene.acts import Stage
from headrace.stream.scene.backdrop import Scenery
from headrace.stream.scene.camera import Lens, Motion
from headrace.stream.scene.mood import Mood
from headrace.stream.scene.paint import Drawn
from headrace.stream.scene.people import Person


class Actor(Protocol):
    """Something that moves: a pure function of time."""

    class_id: int
    instance: int

    def draw(self, t_s: float, lens: Lens) -> Drawn | None:
        """How it looks at `t_s`; None when it cannot be seen."""

    def frames(self, t_s: float, lens: Lens) -> NDArray[np.float64]:
        """(P, 3, 3): its parts' coordinates to homogeneous pixels of the resting camera."""


class Crowd(Protocol):
    """A source of actors."""

    def at(self, t_s: float) -> Sequence[Actor]:
        """Who is there at `t_s`."""


@dataclass(slots=True, kw_only=True, eq=False)
class Setting:
    """A world before anybody looks at it."""

    lens: Lens
    motion: Motion
    mood: Mood
    scenery: Scenery
    stages: list[Stage]
    """The first one follows the script; the others live ordinary lives."""
    crowds: list[Crowd] = field(default_factory=list)
    fixtures: list[Actor] = field(default_factory=list)
    """Foliage, parked cars."""

    def actors(self, t_s: float) -> list[Actor]:
        """Everything that moves at `t_s`."""
        found: list[Actor] = list(self.fixtures)
        for crowd in self.crowds:
            found += crowd.at(t_s)
        for stage in self.stages:
            found += stage.people(t_s)
        return found

    def people(self, t_s: float) -> list[Person]:
        """Everybody on foot at `t_s`."""
        return [a for a in self.actors(t_s) if isinstance(a, Person)]
