"""The drawn world: any time can be asked, and what it says of its pictures is true."""

from itertools import pairwise

import cv2
import numpy as np
import pytest

from headrace.stream.scene import ACTIONS, CLASS_NAMES, VOID, View, World, check_options
from headrace.stream.scene.acts import PERIOD_S
from headrace.stream.scene.backdrop import Backdrop
from headrace.stream.scene.camera import Lens, Motion
from headrace.stream.scene.car import Car
from headrace.stream.scene.facade import facade
from headrace.stream.scene.figure import Light
from headrace.stream.scene.mood import draw_mood
from headrace.stream.scene.people import Person, dress
from headrace.stream.scene.ride import Ride
from headrace.stream.scene.traffic import Lane, Style, cars
from headrace.stream.scene.world import LEAST_EVENT_S

SIZE = (240, 136)
KINDS = ("street", "room")


def same(a: View, b: View) -> bool:
    return (
        np.array_equal(a.image, b.image)
        and np.array_equal(a.classes, b.classes)
        and np.array_equal(a.instances, b.instances)
        and a.actions == b.actions
    )


# A pure function of its arguments and of time


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("look", ["clean", "surveillance"])
def test_any_time_in_any_order_gives_the_same(kind: str, look: str) -> None:
    options = {"size": SIZE, "seed": 5, "pan": True, "shake": True, "look": look}
    first, second = World(kind, **options), World(kind, **options)
    times = (0.0, 3.2, 7.7, 1003.5)
    forward = [first.view(t) for t in times]
    first.flow(3.2, 3.3)
    for t, view in reversed(list(zip(times, forward, strict=True))):
        assert same(second.view(t), view)
        assert same(first.view(t), view)


def test_views_belong_to_the_caller() -> None:
    world = World("street", size=SIZE, seed=2)
    before = world.view(1.0)
    kept = before.image.copy()
    before.image[:] = 0
    before.classes[:] = 0
    assert np.array_equal(world.view(1.0).image, kept)


def test_seeds_differ_a_lot() -> None:
    pictures = [World("street", size=SIZE, seed=s).view(1.0).image.astype(int) for s in range(5)]
    assert all(np.abs(a - b).mean() > 15 for a, b in pairwise(pictures))


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_is_one_world_at_any_size_and_for_any_camera(kind: str) -> None:
    for seed in range(4):
        small = World(kind, size=(320, 180), seed=seed).view(2.0)
        large = World(kind, size=(640, 360), seed=seed).view(2.0)
        assert (large.classes[::2, ::2] == small.classes).mean() > 0.95
        assert large.actions == small.actions
        moved = World(kind, size=(320, 180), seed=seed, pan=True, shake=True)
        camera = np.linalg.inv(moved._setting.motion.at(2.0))[:2]
        rest = cv2.warpAffine(moved.view(2.0).classes, camera, (320, 180), flags=cv2.INTER_NEAREST, borderValue=99)
        assert (rest == small.classes)[rest != 99].mean() > 0.95


@pytest.mark.parametrize("size", [(16, 16), (97, 61), (112, 224), (640, 360)])
@pytest.mark.parametrize("kind", KINDS)
def test_any_size(kind: str, size: tuple[int, int]) -> None:
    view = World(kind, size=size, seed=3, pan=True, shake=True).view(2.0)
    shape = size[::-1]
    assert view.image.shape == (*shape, 3)
    assert view.classes.shape == view.instances.shape == shape
    assert (view.image.dtype, view.classes.dtype, view.instances.dtype) == (np.uint8, np.uint8, np.uint16)


# Classes, instances, actions


def test_streets_hold_every_class() -> None:
    found: set[int] = set()
    for seed in range(12):
        found |= set(np.unique(World("street", size=SIZE, seed=seed).view(2.0).classes).tolist())
    assert found >= set(range(len(CLASS_NAMES)))
    assert found <= {*range(len(CLASS_NAMES)), VOID}


def test_instances_are_of_their_class() -> None:
    for seed in range(8):
        view = World("street", size=SIZE, seed=seed, pan=True).view(4.0)
        things = view.instances > 0
        assert np.isin(view.classes[things], (8, 9, 10)).all()
        assert not np.isin(view.classes[~things], (8, 9, 10)).any()
        on_foot = set(np.unique(view.instances[view.classes == 9]).tolist())
        assert on_foot <= set(view.actions)
        for instance in np.unique(view.instances[things]):
            assert len(np.unique(view.classes[view.instances == instance])) == 1


def test_an_instance_moves_on_and_keeps_its_id() -> None:
    world = World("street", size=SIZE, seed=1)
    for t in np.arange(0, 4, 0.04):
        before, after = world.view(t), world.view(t + 0.04)
        for instance, count in zip(*np.unique(before.instances, return_counts=True), strict=True):
            if instance and count > 150:
                near = cv2.dilate((before.instances == instance).astype(np.uint8), np.ones((25, 25)))
                now = after.instances == instance
                assert not now.any() or (now & (near > 0)).sum() > 0.9 * now.sum()


def test_every_action_occurs() -> None:
    seen: set[str] = set()
    for kind in KINDS:
        for seed in range(8):
            world = World(kind, size=(16, 16), seed=seed)
            for t in np.arange(0, 40, 0.5):
                seen |= set(world.actions(t).values())
    assert seen == {"walk", "run", "stand", "wave", "fall", "lie", "sit", "fight"}


def test_only_allowed_actions_occur() -> None:
    seen: set[str] = set()
    for seed in range(4):
        world = World("street", size=(16, 16), seed=seed, actions=("walk",))
        for t in np.arange(0, 40, 0.5):
            seen |= set(world.actions(t).values())
    assert seen == {"walk", "stand"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("script", ["fall", "fight"])
def test_a_script_happens_in_every_period_and_is_seen(kind: str, script: str) -> None:
    for seed in range(3):
        world = World(kind, size=SIZE, seed=seed, script=script)
        for start in np.arange(0, 4 * PERIOD_S, PERIOD_S):
            times = np.arange(start, start + PERIOD_S, 0.1)
            during = [t for t in times if script in world.actions(t).values()]
            assert 0.5 < len(during) * 0.1 < 5.5
            view = world.view(during[len(during) // 2])
            actors = [i for i, action in view.actions.items() if action == script]
            assert np.isin(view.instances, actors).sum() > 0.002 * view.instances.size


def test_density_is_how_many_pass() -> None:
    counts = []
    for density in (0.0, 1.0, 4.0):
        worlds = [World("street", size=(16, 16), seed=s, density=density) for s in range(6)]
        counts.append([sum(len(crowd.at(9.0)) for crowd in w._setting.crowds) for w in worlds])
    none, some, many = (sum(c) for c in counts)
    assert none == 0
    assert 10 < some < 0.7 * many


def test_label_says_what_happens() -> None:
    for script in ("fall", "fight", "normal"):
        world = World("street", size=(16, 16), seed=4, script=script)
        assert world.label(0.0, PERIOD_S) == script
    world = World("street", size=(16, 16), seed=4, script="fight")
    during = [t for t in np.arange(0, PERIOD_S, 0.01) if "fight" in world.actions(t).values()]
    begin = during[0]
    assert world.label(begin - 2 + LEAST_EVENT_S - 0.1, begin + LEAST_EVENT_S - 0.1) == "normal"
    assert world.label(begin - 2 + LEAST_EVENT_S + 0.1, begin + LEAST_EVENT_S + 0.1) == "fight"


def test_chance_brings_every_label() -> None:
    labels = [World("street", size=(16, 16), seed=s).label(0, PERIOD_S) for s in range(30)]
    assert min(labels.count(name) for name in ("normal", "fall", "fight")) >= 4


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_jumps(kind: str) -> None:
    """No joint moves faster than 25 m/s, also from one period to the next."""
    for seed in range(5):
        stage = World(kind, size=(16, 16), seed=seed)._setting.stages[0]
        for t in np.arange(0, 4 * PERIOD_S, 0.04):
            later = {p.instance: p for p in stage.people(t + 0.02)}
            for person in stage.people(t):
                step = np.linalg.norm(later[person.instance].body(t + 0.02) - person.body(t), axis=1)
                assert step.max() < 0.5, f"{kind} {seed} at {t:.2f} s"


def test_nobody_sinks_into_the_ground() -> None:
    for seed in range(5):
        stage = World("room", size=(16, 16), seed=seed, script="fall")._setting.stages[0]
        for t in np.arange(0, 2 * PERIOD_S, 0.1):
            heights = np.array([p.body(t)[:, 1] for p in stage.people(t)])
            assert heights.min() > -0.02
            assert heights.min() < 0.25


def test_who_lies_is_low_and_wide() -> None:
    world = World("room", size=(320, 180), seed=1, script="fall")
    shapes: dict[str, list[float]] = {"lie": [], "walk": []}
    for t in np.arange(0, 4 * PERIOD_S, 0.1):
        view = world.view(t)
        for instance, action in view.actions.items():
            rows, cols = np.nonzero(view.instances == instance)
            if action in shapes and len(rows) > 50:
                shapes[action].append(np.ptp(rows) / np.ptp(cols))
    assert np.median(shapes["lie"]) < 0.8
    assert np.median(shapes["walk"]) > 1.5


# Flow


NEXT_TO_IT = ((1.5, 0), (-1.5, 0), (0, 1.5), (0, -1.5))


def taken_back(image: np.ndarray, flow: np.ndarray, shift: tuple[float, float] = (0, 0)) -> np.ndarray:
    """The later picture, warped to where the flow (and a shift, px) says that it came from."""
    y, x = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float32)
    return cv2.remap(image, x + flow[..., 0] + shift[0], y + flow[..., 1] + shift[1], cv2.INTER_LINEAR)


def error(a: np.ndarray, b: np.ndarray, where: np.ndarray) -> float:
    return float(np.abs(a.astype(int) - b).mean(-1)[where].mean())


@pytest.mark.parametrize("kind", KINDS)
def test_flow_takes_the_later_picture_back(kind: str) -> None:
    """Warping by the flow undoes pan and shake where nothing moves, and no flow next to it does so better."""
    for seed in range(3):
        world = World(kind, size=(320, 180), seed=seed, pan=True, shake=True)
        before, after, flow = world.view(3.0), world.view(3.2), world.flow(3.0, 3.2)
        things = np.maximum(before.instances, taken_back(after.instances, flow)) > 0
        calm = (before.classes != 5) & ~cv2.dilate(things.astype(np.uint8), np.ones((9, 9))).astype(bool)
        calm[:20] = calm[-20:] = calm[:, :60] = calm[:, -60:] = False
        right = error(taken_back(after.image, flow), before.image, calm)
        assert right < 4
        assert all(right < error(taken_back(after.image, flow, s), before.image, calm) for s in NEXT_TO_IT)


def test_flow_of_moving_things_takes_them_back() -> None:
    for seed in range(4):
        world = World("street", size=(320, 180), seed=seed)
        before, after, flow = world.view(3.0), world.view(3.04), world.flow(3.0, 3.04)
        moving = (before.instances > 0) & (np.hypot(*flow.transpose(2, 0, 1)) > 0.7)
        if moving.sum() > 300:
            right = error(taken_back(after.image, flow), before.image, moving)
            assert right < 0.75 * error(after.image, before.image, moving)
            assert all(right < error(taken_back(after.image, flow, s), before.image, moving) for s in NEXT_TO_IT)


def test_an_optical_flow_method_finds_the_same_flow() -> None:
    """DIS, which knows nothing of the scene, agrees with the truth where it can be expected to."""
    method = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    for seed in (0, 1, 3):
        world = World("street", size=(480, 270), seed=seed, pan=True)
        before, after, truth = world.view(2.0), world.view(2.04), world.flow(2.0, 2.04)
        grey = [cv2.cvtColor(view.image, cv2.COLOR_RGB2GRAY) for view in (before, after)]
        found = method.calc(grey[0], grey[1], None)
        distance = np.hypot(*(found - truth).transpose(2, 0, 1))
        assert np.median(distance[before.instances == 0]) < 0.25
        walking = (before.classes == 9) & (np.hypot(*truth.transpose(2, 0, 1)) < 6)
        assert walking.sum() < 200 or np.median(distance[walking]) < 0.8


def test_flow_of_one_car_is_what_geometry_says() -> None:
    """A car that drives across at 12 m/s, 10 m away, moves by f * v * dt / z on its side that faces us."""
    lens = Lens(size=(640, 360), focal_px=500.0, horizon_px=150.0, height_m=2.0)
    ride = Ride(start_m=(-2.0, 10.0), heading=0.0, speed_mps=12.0)
    car = Car(instance=1, ride=ride, shape="van", paint=(200, 0, 0), light=Light(), lamps_on=False)
    before, after = car.frames(0.0, lens), car.frames(0.1, lens)
    side = next(k for k, face in enumerate(car._faces) if face.normal[2] < -0.99 and face.hub is None)
    corners = np.array([[0, 0, 1], [1.0, 0.5, 1]]).T
    start, end = before[side] @ corners, after[side] @ corners
    moved = end[:2] / end[2] - start[:2] / start[2]
    near_z = 10.0 - 1.98 / 2
    np.testing.assert_allclose(moved, [[500 * 1.2 / near_z] * 2, [0, 0]], atol=1e-9)


def test_flow_of_a_pan_is_the_pan() -> None:
    world = World("street", size=SIZE, seed=3, pan=True)
    move = world._setting.motion.at(2.0)[:2, 2] - world._setting.motion.at(1.0)[:2, 2]
    assert abs(move[0]) > 1
    sky = world.view(1.0).classes == 0
    np.testing.assert_allclose(world.flow(1.0, 2.0)[sky], np.broadcast_to(move, (sky.sum(), 2)), atol=1e-4)


def test_flow_there_and_back_and_to_itself() -> None:
    world = World("room", size=SIZE, seed=2, pan=True, shake=True)
    assert np.abs(world.flow(1.5, 1.5)).max() < 1e-3
    there = world.flow(1.0, 1.1)
    assert there.shape == (*SIZE[::-1], 2)
    assert there.dtype == np.float32
    back = world.flow(1.1, 1.0)
    wall = world.view(1.0).instances == 0
    assert np.abs((there + back)[wall & (world.view(1.1).instances == 0)]).max() < 0.2


def test_flow_is_the_same_with_and_without_the_picture() -> None:
    first, second = (World("street", size=SIZE, seed=6, pan=True) for _ in range(2))
    first.view(2.0)
    np.testing.assert_array_equal(first.flow(2.0, 2.1), second.flow(2.0, 2.1))


# Parts


def test_cars_of_a_lane_keep_apart() -> None:
    style = Style(seed=1, light=Light(), sun=(0, 0), lamps_on=False, muted=0, actions=ACTIONS)
    lane = Lane(entry_m=(-30.0, 12.0), heading=0.0, long_m=60.0, speed_mps=9.0, gap_m=8.0)
    stream = cars(lane, style, 100, seed=3)
    for t in (0.0, 5.0, 77.7, 5000.0):
        places = sorted(thing.ride.at(t)[0] for thing in stream.at(t))
        assert len(places) >= 3
        assert np.diff(places).min() > 4.8
        assert -30 <= places[0] <= places[-1] <= 30
        assert {c.instance for c in stream.at(t)} & {c.instance for c in stream.at(t + 1)}


def test_a_still_camera_stays() -> None:
    assert np.array_equal(Motion(size=SIZE).at(3.0), np.eye(3))
    moving = Motion(size=SIZE, pan_px=20.0, shake_px=2.0, roll_rad=0.01)
    for t in np.arange(0, 30, 0.5):
        corners = moving.at(t) @ np.array([[0, 239, 0, 239], [0, 0, 135, 135], [1, 1, 1, 1.0]])
        moved = np.abs(corners[:2] - [[0, 239, 0, 239], [0, 0, 135, 135]]).max(axis=1)
        assert (moved < moving.margin_px).all()


def test_facades_have_windows() -> None:
    rng = np.random.default_rng(0)
    mood = draw_mood(rng)
    front = facade(rng, mood, wide_m=8.0, floors=3, lit_side=1.0)
    assert front.shape[1] == 8 * 22
    assert front[..., 3].any(axis=0).all()
    assert front[..., :3][front[..., 3] > 0].std() > 15


def test_ground_grid_agrees_with_the_lens() -> None:
    lens = Lens(size=(200, 100), focal_px=150.0, horizon_px=30.0, height_m=2.0)
    backdrop = Backdrop(lens, draw_mood(np.random.default_rng(1)), margin_px=(10, 4))
    x, z, first = backdrop.grid()
    row, col = 60, 111
    pixel = backdrop.pixels(lens.project(np.array([[x[row, col], 0.0, z[row, col]]])))[0]
    np.testing.assert_allclose(pixel, [col, first + row], atol=1e-6)


def test_people_out_of_sight_are_not_drawn() -> None:
    lens = Lens(size=(200, 100), focal_px=150.0, horizon_px=30.0, height_m=2.0)
    stage = World("room", size=(16, 16), seed=1)._setting.stages[0]
    steps = stage.people(0.0)[0].steps
    person = Person(instance=1, looks=dress(np.random.default_rng(0)), steps=steps)
    far_aside = Lens(size=(200, 100), focal_px=15000.0, horizon_px=30.0, height_m=2.0)
    assert person.draw(0.0, lens) is not None
    assert abs(steps[0].start_m[0]) < 2 or person.draw(0.0, far_aside) is None


# Mistakes


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"kind": "beach"}, "kind 'beach' is not known; allowed: street, room"),
        ({"look": "nice"}, "look 'nice' is not known; allowed: auto, clean, surveillance"),
        ({"script": "dance"}, "script 'dance' is not known; allowed: auto, normal, fall, fight"),
        ({"actions": ("walk", "fly")}, "fly are not known; allowed: walk, run, wave, fall, fight"),
        ({"size": (8, 100)}, "16 to 8192 px"),
        ({"size": (100, 9000)}, "16 to 8192 px"),
        ({"seed": -1}, "seed -1 must be 0 or more"),
        ({"density": -0.5}, "density -0.5"),
        ({"density": float("nan")}, "density nan"),
    ],
)
def test_mistakes_are_named(options: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_options(**options)
    with pytest.raises(ValueError, match=said):
        World(**options)
