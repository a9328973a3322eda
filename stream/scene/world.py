"""A drawn world with exact truth: what is seen at any time, what it is, who does what, and where each pixel goes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from headrace.stream.scene.acts import Script
from headrace.stream.scene.backdrop import PAVEMENT, ROAD
from headrace.stream.scene.look import LookName, draw_look
from headrace.stream.scene.paint import FIRST_PART, VOID_PART, Drawn, Easel
from headrace.stream.scene.people import Action
from headrace.stream.scene.room import Room
from headrace.stream.scene.setting import Actor
from headrace.stream.scene.street import Street

Array = NDArray[np.float64]
Kind = Literal["street", "room"]
Label = Literal["normal", "fall", "fight"]

CLASS_NAMES = (
    "sky", "building", "pole", "road", "pavement", "tree", "signsymbol", "fence", "car", "pedestrian", "bicyclist",
)  # fmt: skip
"""Names of the class ids 0..10; 255 is void."""
VOID = 255
ACTIONS = ("walk", "run", "wave", "fall", "fight")
"""What may be allowed or forbidden by the option `actions`."""
LEAST_EVENT_S = 0.4
"""A shorter stretch of a fall or a fight does not make a label."""
LEAST_SIDE_PX, GREATEST_SIDE_PX = 16, 8192
GREATEST_DENSITY = 10.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class View:
    """What is to be seen at one time."""

    image: NDArray[np.uint8]
    """uint8 (H, W, 3) RGB."""
    classes: NDArray[np.uint8]
    """uint8 (H, W): index into CLASS_NAMES, 255 = void."""
    instances: NDArray[np.uint16]
    """uint16 (H, W): 0 = none; the id of a car, cyclist or person does not change."""
    actions: dict[int, Action]
    """What each person on foot does, by instance id; also of those out of the picture."""


@dataclass(slots=True, kw_only=True, eq=False)
class _Moment:
    """A time painted: who is where in the map of parts."""

    t_s: float
    parts: NDArray[np.int32]
    placed: list[tuple[Actor, Drawn, int]]
    image: NDArray[np.uint8] | None


class World:
    """A street or a room; a pure function of its arguments and of time, any time, in any order."""

    def __init__(
        self,
        kind: Kind = "street",
        *,
        size: tuple[int, int] = (640, 360),
        seed: int = 0,
        pan: bool = False,
        shake: bool = False,
        look: LookName = "clean",
        script: Script = "auto",
        actions: Sequence[str] = ACTIONS,
        density: float = 1.0,
    ) -> None:
        """Draw the background once.

        Args:
            kind: "street" or "room".
            size: width and height in pixels, 16 or more each.
            seed: decides layout, time of day, people, everything; 0 or more.
            pan: the camera turns slowly to and fro.
            shake: the camera is held by hand.
            look: "clean", "surveillance" (noise, blur, faded, grey) or "auto" (half and half, by seed).
            script: what happens in each period of 6.5 s: "auto" (by chance), "normal", "fall" or "fight".
            actions: which of ACTIONS may occur; passing by, standing, sitting and talking always
                may.
            density: how busy it is; 1 is ordinary, 0 only those on the stage and parked cars.

        Raises:
            ValueError: an argument is not one of these; the message lists what is allowed.
        """
        check_options(kind, size=size, seed=seed, look=look, script=script, actions=actions, density=density)
        self.kind, self.size, self.seed = kind, size, seed
        self._look = draw_look(look, seed)
        high = self._look.surveillance
        rng = np.random.default_rng((seed, 4))
        setting = (Street if kind == "street" else Room)(
            seed,
            size,
            pan=pan,
            shake=shake,
            high=bool(high and rng.random() < 0.75),
            script=script,
            actions=actions,
            density=density,
            muted=float(rng.uniform(0, 0.5)) if high else float(rng.uniform(0, 0.2)),
        )
        self._setting = setting.build()
        self._still: tuple[NDArray[np.uint8], NDArray[np.int32], NDArray[np.float32]] | None = None
        self._last: _Moment | None = None

    def view(self, t_s: float) -> View:
        """What is to be seen at `t_s`, in seconds."""
        moment = self._moment(t_s, with_image=True)
        count = FIRST_PART + sum(d.parts for _, d, _ in moment.placed)
        classes, instances = np.full(count, VOID, np.uint8), np.zeros(count, np.uint16)
        classes[:VOID_PART] = np.arange(VOID_PART)
        for actor, drawn, first in moment.placed:
            classes[first : first + drawn.parts] = actor.class_id
            instances[first : first + drawn.parts] = actor.instance
        assert moment.image is not None
        return View(
            image=self._look.apply(moment.image.copy(), t_s),
            classes=np.take(classes, moment.parts),
            instances=np.take(instances, moment.parts),
            actions=self.actions(t_s),
        )

    def actions(self, t_s: float) -> dict[int, Action]:
        """What each person on foot does, by instance id, without drawing anything."""
        return {p.instance: p.action(t_s) for p in self._setting.people(t_s)}

    def flow(self, t0_s: float, t1_s: float) -> NDArray[np.float32]:
        """float32 (H, W, 2): by how many pixels (dx, dy) what is seen at `t0_s` has moved at `t1_s`.

        It follows the surface itself, seen or hidden at `t1_s`; nan where that surface is then behind the camera.
        """
        moment = self._moment(t0_s, with_image=False)
        h, w = moment.parts.shape
        lens = self._setting.lens
        before, after = self._setting.motion.at(t0_s), self._setting.motion.at(t1_s)
        field = _affine_field(after @ np.linalg.inv(before), w, h)
        later = {a.instance: a for a in self._setting.actors(t1_s) if a.instance}
        ids = moment.parts.ravel()
        moved = np.flatnonzero(ids >= FIRST_PART)
        count = FIRST_PART + sum(d.parts for _, d, _ in moment.placed)
        back, forth, limits = np.zeros((count, 3, 3)), np.zeros((count, 3, 3)), np.full((count, 4), np.nan)
        for actor, drawn, first in moment.placed:
            rows = slice(first, first + drawn.parts)
            back[rows] = _inverse(before @ actor.frames(t0_s, lens))
            forth[rows] = after @ later.get(actor.instance, actor).frames(t1_s, lens)
            if drawn.limits is not None:
                limits[rows] = drawn.limits
        flat = field.reshape(-1, 2)
        solid = ~np.isnan(limits[ids[moved], 0])
        for where, held in ((moved[~solid], False), (moved[solid], True)):
            part, (y, x) = ids[where], np.divmod(where, w)
            if held:
                # The outline of a face that is seen nearly edge-on covers pixels that its plane does not meet.
                u, v = _mapped(back, part, x, y)
                u0, u1, v0, v1 = (column[part] for column in limits.T)
                to_x, to_y = _mapped(forth, part, np.clip(u, u0, u1), np.clip(v, v0, v1))
            else:
                to_x, to_y = _mapped(forth @ back, part, x, y)
            flat[where, 0], flat[where, 1] = to_x - x, to_y - y
        return field

    def label(self, start_s: float, end_s: float) -> Label:
        """What an action network should say of a stretch: a fall wins over a fight, less than 0.4 s is normal."""
        span: dict[str, float] = {"fall": 0.0, "fight": 0.0}
        step = 0.02
        for k in range(max(1, math.ceil((end_s - start_s) / step))):
            t = start_s + (k + 0.5) * step
            if t > end_s:
                break
            seen = {p.action(t) for p in self._setting.stages[0].people(t)}
            for name in span:
                span[name] += step if name in seen else 0.0
        if span["fall"] >= LEAST_EVENT_S - 1e-6:
            return "fall"
        return "fight" if span["fight"] >= LEAST_EVENT_S - 1e-6 else "normal"

    def _moment(self, t_s: float, *, with_image: bool) -> _Moment:
        """Paint `t_s`, or take the last painting if it is of the same time."""
        if self._last is not None and self._last.t_s == t_s and (self._last.image is not None or not with_image):
            return self._last
        setting, camera = self._setting, self._setting.motion.at(t_s)
        image, parts, depth = self._background(camera, with_image=with_image)
        drawn = [(a, d) for a in setting.actors(t_s) if (d := a.draw(t_s, setting.lens)) is not None]
        drawn.sort(key=lambda pair: -pair[1].depth_m)
        easel = Easel(image, parts, depth, camera)
        ground = (parts == ROAD) | (parts == PAVEMENT) if self.kind == "street" else parts == VOID_PART
        easel.cast_shadows([d for _, d in drawn], strength=setting.mood.shadow, ground=ground)
        placed, first = [], FIRST_PART
        for actor, d in drawn:
            easel.paint(d, first)
            placed.append((actor, d, first))
            first += d.parts
        self._last = _Moment(t_s=t_s, parts=parts, placed=placed, image=image)
        return self._last

    def _background(
        self, camera: Array, *, with_image: bool
    ) -> tuple[NDArray[np.uint8] | None, NDArray[np.int32], NDArray[np.float32]]:
        """Fresh copies of the static picture, its ids and depths as the camera sees them."""
        if self._setting.motion.still:
            if self._still is None:
                self._still = self._warp(camera, with_image=True)
            image, parts, depth = self._still
            return image.copy() if with_image else None, parts.copy(), depth
        warped = self._warp(camera, with_image=with_image)
        return warped[0] if with_image else None, warped[1], warped[2]

    def _warp(
        self, camera: Array, *, with_image: bool
    ) -> tuple[NDArray[np.uint8], NDArray[np.int32], NDArray[np.float32]]:
        scenery = self._setting.scenery
        shift = np.eye(3)
        shift[:2, 2] = np.negative(scenery.margin_px)
        matrix = (camera @ shift)[:2]
        near = {"flags": cv2.INTER_NEAREST, "borderMode": cv2.BORDER_REPLICATE}
        smooth = {"flags": cv2.INTER_LINEAR, "borderMode": cv2.BORDER_REPLICATE}
        image = cv2.warpAffine(scenery.image, matrix, self.size, **smooth) if with_image else scenery.image
        parts = cv2.warpAffine(scenery.classes, matrix, self.size, **near)
        depth = cv2.warpAffine(scenery.depth, matrix, self.size, **near)
        return np.asarray(image, np.uint8), parts.astype(np.int32), np.asarray(depth, np.float32)


def _affine_field(matrix: Array, w: int, h: int) -> NDArray[np.float32]:
    """Displacement of every pixel under an affine (3, 3) map."""
    x, y = np.arange(w), np.arange(h)[:, None]
    field = np.empty((h, w, 2), np.float32)
    for k in range(2):
        a, b, c = matrix[k]
        field[..., k] = (a - (k == 0)) * x + (b - (k == 1)) * y + c
    return field


def _mapped(maps: Array, part: Array, x: Array, y: Array) -> tuple[Array, Array]:
    """(n,) points under the homography (3, 3) of the part that each belongs to; nan behind the camera."""
    m = maps.reshape(-1, 9).T
    flat = bool((m[6:8, :] == 0).all())
    depth = m[8][part] if flat else m[6][part] * x + m[7][part] * y + m[8][part]
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.where(depth > 0, 1 / depth, np.nan)
    return (m[0][part] * x + m[1][part] * y + m[2][part]) * scale, (
        m[3][part] * x + m[4][part] * y + m[5][part]
    ) * scale


def _inverse(frames: Array) -> Array:
    """Inverses of (P, 3, 3); a plane seen exactly edge-on covers no pixel, so any inverse will do."""
    flat = np.abs(np.linalg.det(frames)) < 1e-9
    return np.asarray(np.linalg.inv(np.where(flat[:, None, None], np.eye(3), frames)))


def check_options(
    kind: str = "street",
    *,
    size: tuple[int, int] = (640, 360),
    seed: int = 0,
    pan: bool = False,
    shake: bool = False,
    look: str = "clean",
    script: str = "auto",
    actions: Sequence[str] = ACTIONS,
    density: float = 1.0,
) -> None:
    """Check the arguments of `World` without drawing anything.

    Raises:
        ValueError: an argument is not one of those allowed; the message lists them.
    """
    choices = (
        ("kind", kind, get_args(Kind)),
        ("look", look, get_args(LookName)),
        ("script", script, get_args(Script)),
    )
    for name, value, allowed in choices:
        if value not in allowed:
            raise ValueError(f"scene {name} {value!r} is not known; allowed: {', '.join(allowed)}")
    if len(size) != 2 or min(size) < LEAST_SIDE_PX or max(size) > GREATEST_SIDE_PX:
        raise ValueError(
            f"scene size {size!r} must be (width, height), {LEAST_SIDE_PX} to {GREATEST_SIDE_PX} px each"
        )
    if seed < 0:
        raise ValueError(f"scene seed {seed} must be 0 or more")
    if not 0 <= density <= GREATEST_DENSITY:
        raise ValueError(f"scene density {density} must be 0 to {GREATEST_DENSITY}")
    unknown = sorted(set(actions) - set(ACTIONS))
    if unknown:
        raise ValueError(f"scene actions {', '.join(unknown)} are not known; allowed: {', '.join(ACTIONS)}")
