"""The scene as a source."""

import numpy as np
import pytest

from headrace.stream.scene import World
from headrace.stream.sources.scene import SceneSource

SMALL = "size=64x36"


def read_all(source: SceneSource) -> list[np.ndarray]:
    source.open()
    try:
        packets = iter(source.read, None)
        return [packet.data for packet in packets]
    finally:
        source.close()


def test_gives_as_many_pictures_as_asked_for() -> None:
    source = SceneSource(f"scene:street?seconds=0.5&{SMALL}&fps=20&seed=1")
    info = source.open()
    assert (info.width, info.height, info.codec, info.fps, info.frames) == (64, 36, "rgb", 20.0, 10)
    packets = list(iter(source.read, None))
    source.close()
    assert [p.pts_s for p in packets] == [k / 20 for k in range(10)]
    assert all(p.is_keyframe and p.codec.name == "rgb" and p.codec.intra_only for p in packets)
    assert all(p.data.shape == (36, 64, 3) and p.data.dtype == np.uint8 for p in packets)
    arrivals = [p.arrival_ns for p in packets]
    assert arrivals == sorted(arrivals)


def test_pictures_are_the_worlds() -> None:
    source = SceneSource(f"scene:room?seconds=0.2&{SMALL}&fps=25&seed=3&pan=1&shake=1&look=surveillance&script=fall")
    world = World("room", size=(64, 36), seed=3, pan=True, shake=True, look="surveillance", script="fall")
    pictures = read_all(source)
    assert len(pictures) == 5
    for k, picture in enumerate(pictures):
        np.testing.assert_array_equal(picture, world.view(k / 25).image)


def test_each_opening_begins_again() -> None:
    source = SceneSource(f"scene:?seconds=0.12&{SMALL}")
    first, second = read_all(source), read_all(source)
    assert len(first) == 3
    np.testing.assert_array_equal(first, second)


def test_endless_without_seconds() -> None:
    source = SceneSource(f"scene:street?{SMALL}")
    assert source.open().frames is None
    assert all(source.read() is not None for _ in range(60))
    source.close()


def test_closed_gives_nothing_and_closes_twice() -> None:
    source = SceneSource(f"scene:street?{SMALL}")
    assert source.read() is None
    source.open()
    assert source.world is not None
    source.close()
    source.close()
    assert source.read() is None
    assert source.world is None
    assert not source.is_live
    assert source.name == f"scene:street?{SMALL}"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("scene:beach", "kind 'beach' is not known; allowed: street, room"),
        ("scene:street?colour=red", "option 'colour' is not known; allowed: seconds, size, fps, seed"),
        ("scene:street?size=640", "size='640' must be width x height"),
        ("scene:street?size=8x8", "16 to 8192 px"),
        ("scene:street?fps=0", "fps='0' must be a number above 0"),
        ("scene:street?fps=nan", "fps='nan' must be a number above 0"),
        ("scene:street?seconds=-1", "seconds='-1' must be a number above 0"),
        ("scene:street?seed=x", "seed='x' must be a whole number"),
        ("scene:street?pan=yes", "pan='yes' must be 0 or 1"),
        ("scene:street?look=nice", "look 'nice' is not known; allowed: auto, clean, surveillance"),
        ("scene:street?script=dance", "script 'dance' is not known; allowed: auto, normal, fall, fight"),
        ("file.mp4", "is not a scene"),
    ],
)
def test_mistakes_are_named(url: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        SceneSource(url)
