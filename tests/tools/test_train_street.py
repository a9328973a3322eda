"""The street recipe: its losses by hand, and a training of seconds that is stopped and goes on."""

import csv
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'headrace[models]'")
pytest.importorskip("onnxscript", reason="onnxscript is not installed: pip install 'headrace[models]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'headrace[models]'")

from headrace.tools.train import street as recipe  # noqa: E402
from headrace.tools.train.camvid import IGNORE, Pictures  # noqa: E402


def one_hot(target: Any, classes: int) -> Any:
    return torch.nn.functional.one_hot(target.where(target != IGNORE, 0), classes).permute(0, 3, 1, 2).float()


def test_overlap_loss_of_a_perfect_map_is_nought() -> None:
    target = torch.randint(0, 5, (2, 8, 8))
    assert recipe.overlap_loss(one_hot(target, 5), target).item() == pytest.approx(0, abs=1e-6)


def test_overlap_loss_by_hand() -> None:
    target = torch.tensor([[[0, 0, 1, IGNORE]]])
    shares = torch.tensor([[0.5, 0.5], [1.0, 0.0], [0.0, 1.0], [0.3, 0.7]]).T.reshape(1, 2, 1, 4)
    first = 1 - (1.5 + 1) / (2 + 1)  # found 1.5, true 2, both 1.5
    second = 1 - (1 + 1) / (1.5 + 1)  # found 1.5, true 1, both 1; the ignored pixel counts nowhere
    assert recipe.overlap_loss(shares, target).item() == pytest.approx((first + second) / 2)


def test_ignored_pixels_do_not_move_the_loss() -> None:
    target = torch.randint(0, 11, (1, 24, 32))
    target[:, 8:] = IGNORE
    heads = tuple(torch.randn(1, 11, 12 // k, 16 // k) for k in (1, 2, 4))
    weights = torch.ones(11)
    changed = [head.clone() for head in heads]
    for head in changed:
        head[:, :, head.shape[2] * 2 // 3 :] += torch.randn(1, 11, 1, 1)
    before, after = (recipe.loss_of(each, target, weights) for each in (heads, tuple(changed)))
    assert torch.isclose(before, after)


def test_rare_classes_weigh_more() -> None:
    labels = np.repeat(np.arange(11, dtype=np.uint8), [10 * 2**k for k in range(11)])[None, None]
    weights = recipe.class_weights(Pictures(images=np.zeros((*labels.shape, 3), np.uint8), labels=labels))
    assert weights[0] == weights[1] == 4  # the greatest allowed
    assert (weights[1:-1] > weights[2:]).all()
    assert weights[5] == pytest.approx(1.0)


def test_the_rate_rises_and_ends_at_nought() -> None:
    assert recipe.rate_at(0.0) < recipe.PEAK_RATE / 100
    assert recipe.rate_at(recipe.WARM_UP) == pytest.approx(recipe.PEAK_RATE, rel=0.01)
    assert recipe.rate_at(1.0) == pytest.approx(0, abs=1e-9)


@pytest.fixture
def camvid(tmp_path: Path) -> Path:
    """Four pictures in which the class can be read off the colour."""
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (12, 3), dtype=np.uint8)
    for split in ("train", "val"):
        for part in ("images", "labels"):
            (tmp_path / "data" / split / part).mkdir(parents=True)
        for at in range(4):
            label = cv2.resize(
                rng.integers(0, 12, (6, 8), dtype=np.uint8), (480, 360), interpolation=cv2.INTER_NEAREST
            )
            cv2.imwrite(str(tmp_path / "data" / split / "images" / f"{at}.png"), colours[label])
            cv2.imwrite(str(tmp_path / "data" / split / "labels" / f"{at}.png"), label)
    return tmp_path / "data"


@pytest.mark.filterwarnings("default")  # the exporter warns of its own innards
def test_a_training_goes_on_where_it_stopped_and_exports(
    camvid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = recipe.Phase(until=1.0, size_px=(96, 64), batch=2, scale=(0.8, 1.2))
    monkeypatch.setattr(recipe, "PHASES", (small,))
    out = tmp_path / "out"
    call = ["--data", str(camvid), "--out", str(out)]
    assert recipe.main([*call, "--epochs", "1"]) == 0
    assert "starting with step 0" in capsys.readouterr().out
    (out / "street.onnx").unlink()
    assert recipe.main([*call, "--epochs", "3"]) == 0
    assert "going on at step 2" in capsys.readouterr().out
    with (out / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["step"], row["pictures"]) for row in rows] == [("2", "4"), ("6", "12")]
    assert float(rows[-1]["mean_iou"]) >= 0
    assert (out / "street.onnx").stat().st_size > 1_000_000


def test_it_must_be_told_how_long(camvid: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="2"):
        recipe.main(["--data", str(camvid), "--out", str(tmp_path)])
