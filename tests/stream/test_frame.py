"""The records: what they compute, and that they never show pixels."""

from dataclasses import replace
from typing import Any

import fakes
import numpy as np
import pytest
from fakes import result

from headrace.stream.frame import Clip
from headrace.stream.overlay import draw
from headrace.stream.path import names_of

SPEC = fakes.segment_engine(labels=("road", "car", "tree")).spec


def test_shares_are_of_the_whole_picture() -> None:
    mask = np.zeros((10, 10), np.uint8)
    mask[:3], mask[3] = 1, 255
    one = result(mask=mask, model=SPEC)
    assert one.shares() == {"road": 0.6, "car": 0.3}
    assert one.share("car") == 0.3
    assert one.share("tree") == 0.0


def test_shares_are_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the overlay, the outputs and the reader alike."""
    counts: list[int] = []
    bincount = np.bincount

    def counted(*arguments: Any, **options: Any) -> Any:
        counts.append(1)
        return bincount(*arguments, **options)

    monkeypatch.setattr("headrace.stream.frame.np.bincount", counted)
    one = result(mask=np.ones((2, 2), np.uint8), model=SPEC, size=(320, 240))
    drawn = draw(one)
    same = replace(one, drawn=drawn, age_ms=4.0)
    one.shares().clear()
    assert one.shares() == same.shares() == {"car": 1.0}
    assert same.share("car") == 1.0
    assert len(counts) == 1
    other = replace(same, mask=np.zeros((2, 2), np.uint8))
    assert (other.shares(), same.shares()) == ({"road": 1.0}, {"car": 1.0})


def test_a_class_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no class 'bus'; there are: road, car, tree"):
        result(mask=np.zeros((2, 2), np.uint8), model=SPEC).share("bus")
    with pytest.raises(ValueError, match=r"no class 'car'; there are: none \(no mask\)"):
        result().share("car")
    assert result().shares() == {}


def test_a_class_beyond_the_labels_is_not_counted() -> None:
    assert result(mask=np.full((2, 2), 7, np.uint8), model=SPEC).shares() == {}


def test_repr_shows_no_pixels() -> None:
    one = result(3, mask=np.zeros((24, 32), np.uint8), model=SPEC)
    assert len(repr(one)) < 400
    assert "array" not in repr(one)


def test_a_clip_has_one_more_instant_than_flows() -> None:
    images, flows = np.zeros((2, 4, 4, 3), np.uint8), np.zeros((3, 4, 4, 2), np.float32)
    options = {"stream_id": "one", "epoch": 0, "arrival_ns": 0}
    clip = Clip(images=images, flows=flows, pts_s=np.arange(4.0), **options)  # type: ignore[arg-type]
    assert "array([[" not in repr(clip)
    with pytest.raises(ValueError, match="3 instants for 3 flows; one more is needed"):
        Clip(images=images, flows=flows, pts_s=np.arange(3.0), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("sources", "names"),
    [
        (["a/b/street.mp4"], ["street.mp4"]),
        (["a/hall.mp4", "b/hall.mp4", "hall.mp4"], ["hall.mp4", "hall.mp4-2", "hall.mp4-3"]),
        (["hall-2", "hall", "hall"], ["hall-2", "hall", "hall-3"]),
        (["rtsp://camera/1?x=y", "rtsp://user:***@camera"], ["1", "camera"]),
        (["0", "/dev/video0", "scene:street?seconds=3"], ["0", "video0", "scene:street"]),
        (["folder/", "/"], ["folder", "stream"]),
    ],
)
def test_short_names_no_two_the_same(sources: list[str], names: list[str]) -> None:
    assert names_of(sources) == names
