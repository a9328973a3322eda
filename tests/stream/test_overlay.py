"""What is drawn: the tint of each class, the legend, the actions, the line of figures; on any size."""

import threading

import fakes
import numpy as np
import pytest
from fakes import result

from headrace.models.palette import colours
from headrace.stream.frame import Action, Frame, Result
from headrace.stream.overlay import TINT, _Row, _strip, draw, tinted
from headrace.stream.picture import RgbPicture

SPEC = fakes.segment_engine(labels=("road", "car", "tree")).spec
GREY = 120


def grey_result(size: tuple[int, int] = (640, 360), **fields: object) -> Result:
    """A plain grey picture of this (width, height)."""
    picture = RgbPicture(np.full((size[1], size[0], 3), GREY, np.uint8))
    frame = Frame(picture=picture, stream_id="one", seq=0, epoch=0, pts_s=4.0, arrival_ns=0)
    return Result(frame=frame, **fields)  # type: ignore[arg-type]


def action(label: str, probability: float = 0.9, end_s: float = 3.5) -> Action:
    return Action(model="m", label=label, probability=probability, start_s=end_s - 2, end_s=end_s)


def boxes(drawn: np.ndarray) -> dict[str, bool]:
    """Which quarters of a grey picture were written on."""
    height, width = drawn.shape[:2]
    parts = {
        "upper left": drawn[: height // 2, : width // 2],
        "upper right": drawn[: height // 2, width // 2 :],
        "lower left": drawn[height // 2 :, : width // 2],
        "lower right": drawn[height // 2 :, width // 2 :],
    }
    return {name: bool((part != GREY).any()) for name, part in parts.items()}


# The tint


def test_each_class_is_tinted_with_its_colour() -> None:
    picture = np.full((60, 90, 3), GREY, np.uint8)
    mask = np.repeat(np.array([[0, 1, 2]], np.uint8), 10, axis=0).repeat(10, axis=1)
    got = tinted(picture, mask, colours(SPEC))
    for class_id, x in enumerate((15, 45, 75)):
        want = (1 - TINT) * GREY + TINT * np.array(colours(SPEC)[class_id])
        assert np.abs(got[30, x] - want).max() <= 1


def test_what_is_ignored_stays_clear() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
    mask = np.zeros((6, 9), np.uint8)
    mask[:, 5:] = 255
    got = tinted(picture, mask, colours(SPEC))
    np.testing.assert_array_equal(got[:, 50:], picture[:, 50:])
    assert (got[:, :40] != picture[:, :40]).any()


def test_the_mask_covers_the_whole_picture_whatever_their_shapes() -> None:
    picture = np.full((90, 160, 3), GREY, np.uint8)
    mask = np.zeros((50, 10), np.uint8)
    mask[40:] = 1
    got = tinted(picture, mask, colours(SPEC)).astype(int)
    want = [(1 - TINT) * GREY + TINT * np.array(colours(SPEC)[class_id]) for class_id in (0, 1)]
    assert np.abs(got[10, 80] - want[0]).max() <= 1
    assert np.abs(got[85, 80] - want[1]).max() <= 1


# The whole


def test_the_picture_itself_is_left_as_it_was() -> None:
    one = grey_result(mask=np.ones((36, 64), np.uint8), model=SPEC, actions=(action("fall"),))
    before = one.frame.picture.rgb().copy()
    drawn = draw(one, "25 fps")
    assert drawn is not one.frame.picture.rgb()
    np.testing.assert_array_equal(one.frame.picture.rgb(), before)
    assert drawn.shape == before.shape
    assert drawn.dtype == np.uint8


class FreshPicture:
    """Made anew each time it is read, as a decoded one is."""

    size = (320, 180)

    def __init__(self) -> None:
        self.made: list[np.ndarray] = []

    def rgb(self, size: tuple[int, int] | None = None) -> np.ndarray:
        self.made.append(np.full((180, 320, 3), GREY, np.uint8))
        return self.made[-1]


def test_a_picture_that_is_nobody_else_s_is_drawn_on_without_a_copy() -> None:
    picture = FreshPicture()
    frame = Frame(picture=picture, stream_id="one", seq=0, epoch=0, pts_s=4.0, arrival_ns=0)
    drawn = draw(Result(frame=frame), "25 fps")
    assert drawn is picture.made[-1]
    assert boxes(drawn)["lower right"]


def test_nothing_to_say_draws_nothing() -> None:
    one = grey_result()
    np.testing.assert_array_equal(draw(one), one.frame.picture.rgb())
    assert draw(one) is not one.frame.picture.rgb()


def test_each_panel_has_its_corner() -> None:
    nothing = dict.fromkeys(("upper left", "upper right", "lower left", "lower right"), False)
    assert boxes(draw(grey_result(actions=(action("fall"),)))) == nothing | {"upper left": True}
    assert boxes(draw(grey_result(), "25 fps")) == nothing | {"lower right": True}
    # An ignored mask tints nothing; its legend is empty.
    clear = np.full((36, 64), 255, np.uint8)
    assert boxes(draw(grey_result(mask=clear, model=SPEC))) == nothing
    clear[0, :] = 1
    legend = draw(grey_result(mask=clear, model=SPEC))
    assert boxes(legend[20:])["lower left"]
    assert not boxes(legend[20:])["lower right"]


def test_the_legend_names_the_largest_classes_first() -> None:
    def legend(mask: np.ndarray) -> np.ndarray:
        return draw(grey_result(mask=mask, model=SPEC))[180:, :320]

    most_road = np.zeros((100, 10), np.uint8)
    most_road[:30] = 1
    swatch = {name: np.array(colour) for name, colour in zip(SPEC.labels, colours(SPEC), strict=True)}

    def first_row(picture: np.ndarray, name: str) -> int:
        rows = np.nonzero((picture == swatch[name]).all(axis=2).any(axis=1))[0]
        assert len(rows), f"{name} is not in the legend"
        return int(rows[0])

    picture = legend(most_road)
    assert first_row(picture, "road") < first_row(picture, "car")
    picture = legend(1 - most_road)
    assert first_row(picture, "car") < first_row(picture, "road")


def test_a_class_too_small_to_see_is_not_in_the_legend() -> None:
    mask = np.zeros((100, 100), np.uint8)
    mask[0, :50] = 2
    drawn = draw(grey_result(mask=mask, model=SPEC))[180:, :320]
    assert not (drawn == np.array(colours(SPEC)[2])).all(axis=2).any()


def test_an_alarming_action_stands_out() -> None:
    def redness(label: str) -> int:
        picture = draw(grey_result(actions=(action(label),)))[:180, :320].astype(int)
        return int((picture[..., 0] - picture[..., 1]).max())

    assert redness("fall") > 100
    assert redness("fight") > 100
    assert redness("normal") < 20


def test_the_age_of_a_score_is_shown() -> None:
    early = draw(grey_result(actions=(action("fall", end_s=4.0),)))
    late = draw(grey_result(actions=(action("fall", end_s=1.0),)))
    assert (early != late).any()


def test_text_lies_on_a_shade() -> None:
    """Light text on a white picture can be read: behind it the picture is darker."""
    picture = RgbPicture(np.full((360, 640, 3), 255, np.uint8))
    frame = Frame(picture=picture, stream_id="one", seq=0, epoch=0, pts_s=4.0, arrival_ns=0)
    drawn = draw(Result(frame=frame), "25 fps")
    assert drawn[300:, 400:].min() < 160
    assert (drawn[:200] == 255).all()


SIZES = [(1, 1), (2, 2), (4, 200), (200, 4), (10, 120), (33, 121), (63, 47), (121, 500), (640, 119), (3840, 2160)]


@pytest.mark.parametrize("size", SIZES)
def test_any_size_can_be_drawn_on(size: tuple[int, int]) -> None:
    mask = np.array([[0, 1], [2, 255]], np.uint8)
    actions = tuple(action(label) for label in ("a long name of an action", "normal", "fight", "more"))
    one = grey_result(size, mask=mask, model=SPEC, actions=actions)
    drawn = draw(one, "1234 fps   999 ms   100000 dropped")
    assert drawn.shape == (size[1], size[0], 3)


def test_a_label_of_any_letters() -> None:
    drawn = draw(grey_result(actions=(action("Sturz – 転倒 \n\t"),)))
    assert (drawn != GREY).any()


def test_the_same_result_is_drawn_the_same() -> None:
    one = result(5, mask=np.ones((24, 32), np.uint8), model=SPEC, actions=(action("fall"),), size=(320, 240))
    np.testing.assert_array_equal(draw(one, "a"), draw(one, "a"))


def test_threads_that_draw_at_different_sizes_do_not_share_a_font() -> None:
    """OpenCV's font faces keep the last size: shared, one thread's lines come out as wide as another's."""
    texts = [f"pavement {n}%" for n in range(100)]
    wanted = {size: [_strip(_Row(text, (255, 255, 255)), size).shape for text in texts] for size in (16, 29)}
    _strip.cache_clear()
    found: dict[int, list[tuple[int, ...]]] = {}

    def draw_all(size: int) -> None:
        found[size] = [_strip(_Row(text, (255, 255, 255)), size).shape for text in texts]

    threads = [threading.Thread(target=draw_all, args=(size,)) for size in (16, 29)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == wanted
