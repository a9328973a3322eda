"""What may be set of a build, and the batch lengths that follow."""

from typing import Any

import pytest

from headrace.engines.trt.options import BuildOptions, batch_lengths


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"max_batch": 0}, "max_batch: got 0, allowed: 1 or more"),
        ({"workspace_bytes": 5}, "workspace_bytes: got 5, allowed: 1048576 or more"),
        ({"level": 6}, "level: got 6, allowed: 0 to 5"),
        ({"hardware": "hopper"}, "hardware: got 'hopper', allowed: none, ampere_plus, same_compute_capability"),
        ({"aux_streams": -1}, "aux_streams: got -1, allowed: 0 or more"),
    ],
)
def test_wrong_values_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        BuildOptions(**wrong)


def test_every_option_stands_by_its_name() -> None:
    named = BuildOptions(max_batch=2, tf32=False).by_name()
    assert named["max_batch"] == 2
    assert named["tf32"] is False
    assert set(named) == set(BuildOptions.__dataclass_fields__)


@pytest.mark.parametrize(
    ("most", "lengths"), [(1, (1,)), (2, (1, 2)), (6, (1, 2, 4, 6)), (8, (1, 2, 4, 8)), (9, (1, 2, 4, 8, 9))]
)
def test_the_lengths_are_powers_of_two_up_to_the_longest(most: int, lengths: tuple[int, ...]) -> None:
    assert batch_lengths(most) == lengths
