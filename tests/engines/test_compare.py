"""How results are held against the reference's: class ids, scores, and what no tolerance excuses."""

import numpy as np
import pytest
from tiny_models import tensor

from headrace.engines.base import Precision
from headrace.engines.compare import TOLERANCES, Comparison, compare
from headrace.engines.inputs import Array

MASK = (tensor("mask", (None, 10, 10), "uint8", "BHW"),)
SCORES = (tensor("scores", (None, 4), "float32", "BC"),)


def masks(count: int = 3) -> list[dict[str, Array]]:
    random = np.random.default_rng(0)
    return [{"mask": random.integers(0, 11, (1, 10, 10), dtype=np.uint8)} for _ in range(count)]


def scores(*rows: list[float]) -> list[dict[str, Array]]:
    return [{"scores": np.array([row], np.float32)} for row in rows]


def test_equal_class_ids_agree_on_all() -> None:
    found = compare(MASK, masks(), masks())
    assert found.agreement == 1
    assert found.max_error is None
    assert found.top1 is None
    assert found.verdict("fp32") == ""


def test_agreement_is_the_share_of_all_pixels_of_all_frames() -> None:
    got = masks()
    got[1]["mask"][0, 0, :2] += 1
    found = compare(MASK, masks(), got)
    assert found.agreement == pytest.approx(1 - 2 / 300)
    assert found.verdict("fp32") == "agrees on 0.9933 of the pixels; fp32 must on 0.999"
    assert found.verdict("int8") == ""


def test_scores_have_their_greatest_and_mean_error_and_the_best_class() -> None:
    wanted = scores([0.1, 0.6, 0.2, 0.1], [0.4, 0.3, 0.2, 0.1])
    got = scores([0.1, 0.6, 0.2, 0.1], [0.3, 0.4, 0.2, 0.1])
    found = compare(SCORES, wanted, got)
    assert found.max_error == pytest.approx(0.1)
    assert found.mean_error == pytest.approx(0.2 / 8)
    assert found.top1 == 0.5
    assert found.agreement is None
    assert found.verdict("int8").startswith("a score is 0.1 off; int8 may be")


def test_errors_are_measured_against_the_greatest_score() -> None:
    """Logits of 100 may be off by more than probabilities."""
    wanted, got = scores([100.0, 0.0, 0.0, 0.0]), scores([100.05, 0.0, 0.0, 0.0])
    assert compare(SCORES, wanted, got).verdict("fp32") == ""
    small = compare(SCORES, scores([1.0, 0.0, 0.0, 0.0]), scores([1.05, 0.0, 0.0, 0.0]))
    assert small.verdict("fp32") == "a score is 0.05 off; fp32 may be 0.001 off"


def test_another_best_class_is_off_even_where_the_scores_are_near() -> None:
    wanted, got = scores([0.5, 0.4999, 0, 0]), scores([0.4999, 0.5, 0, 0])
    assert compare(SCORES, wanted, got).verdict("fp32").startswith("names the same class for 0.000 of the inputs")


@pytest.mark.parametrize("precision", TOLERANCES)
def test_values_that_are_no_numbers_are_off_in_every_precision(precision: Precision) -> None:
    got = scores([0.1, float("nan"), 0.2, 0.1])
    found = compare(SCORES, scores([0.1, 0.6, 0.2, 0.1]), got)
    assert found.verdict(precision) == (
        "output 'scores' has 1 values that are no numbers where the reference has some"
    )


def test_values_that_the_reference_has_none_for_either_do_not_count() -> None:
    both = scores([0.1, float("-inf"), 0.2, 0.1])
    assert compare(SCORES, both, both).verdict("fp32") == ""


def test_another_shape_is_off() -> None:
    wanted, got = masks(1), [{"mask": np.zeros((1, 5, 5), np.uint8)}]
    assert compare(MASK, wanted, got).verdict("int8") == "output 'mask' has shape 1×5×5, the reference's 1×10×10"


def test_another_dtype_is_off() -> None:
    wanted = masks(1)
    got = [{"mask": wanted[0]["mask"].astype(np.int64)}]
    assert compare(MASK, wanted, got).verdict("int8") == "output 'mask' is int64, the reference's uint8"


def test_the_worst_output_counts() -> None:
    both = (*MASK, tensor("other", (None, 10, 10), "uint8", "BHW"))
    wanted = [{"mask": m["mask"], "other": m["mask"]} for m in masks()]
    got = [{"mask": m["mask"], "other": m["mask"] + 1} for m in masks()]
    assert compare(both, wanted, got).agreement == 0


def test_narrower_precisions_may_cost_more() -> None:
    ordered = [TOLERANCES[precision] for precision in ("fp32", "fp16", "int8")]
    assert [each.agreement for each in ordered] == sorted((each.agreement for each in ordered), reverse=True)
    assert [each.error for each in ordered] == sorted(each.error for each in ordered)


def test_it_says_what_was_found_in_words() -> None:
    assert str(Comparison(agreement=0.98765)) == "agrees on 0.9877 of the pixels"
    assert str(Comparison(top1=1.0, max_error=0.0012)) == (
        "names the same class for 1.000 of the inputs, scores at most 0.0012 off"
    )
    assert str(Comparison(max_error=0.5)) == "values at most 0.5 off"
