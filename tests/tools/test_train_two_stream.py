"""The action recipe: draws as stated, never parts a group, goes on after a kill, reports what the table says."""

import csv
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'headrace[models]'")

from headrace.models.spec import spec_from_yaml  # noqa: E402
from headrace.tools.train import two_stream as recipe_file  # noqa: E402
from headrace.tools.train.action_augment import changed_fields, changed_images  # noqa: E402
from headrace.tools.train.action_data import CLIP, LABELS  # noqa: E402
from headrace.tools.train.two_stream import (  # noqa: E402
    FOLDS,
    STREAMS,
    Clips,
    Course,
    Recipe,
    cross_validate,
    description,
    folds_of,
    odds,
    report,
    scores_of,
)


@dataclass(frozen=True, kw_only=True)
class Fake:
    """A source of which only the names count."""

    dataset: str
    group: str
    name: str
    plain: bool = True


def tiny(per_label: int = 8) -> Clips:
    """Clips in which the label is how fast a square moves."""
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), per_label)
    fields = random.normal(0, 0.1, (len(labels), 20, 2, 16, 16))
    fields[:, :, 0, 5:10, 5:10] += labels[:, None, None, None] * 3
    sources = tuple(Fake(dataset="fight_surv", group=f"g{n % 4}", name=f"v{n}") for n in range(len(labels)))
    return Clips(
        fields=torch.from_numpy(fields).half(),
        images=torch.rand(len(labels), 3, 3, 16, 16).half(),
        labels=torch.from_numpy(labels),
        sources=sources,  # type: ignore[arg-type]
    )


RECIPE = Recipe(steps=6, batch=4, width=4, save_every=3, warm_up=2)
EVERY = {("fight_surv", label): 1 / 3 for label in LABELS}


@pytest.fixture(autouse=True)
def _shares(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe_file, "SHARES", EVERY)


@pytest.mark.parametrize("stream", STREAMS)
def test_a_killed_training_ends_where_an_unbroken_one_does(stream: str, tmp_path: Path) -> None:
    clips, rows = tiny(), np.arange(24)
    unbroken = Course(stream, RECIPE, tmp_path / "a").run(clips, rows)  # type: ignore[arg-type]

    class Killed(Exception):
        pass

    course = Course(stream, RECIPE, tmp_path / "b")  # type: ignore[arg-type]
    learn = course._learn

    def until_four(clips: Clips, rows: np.ndarray) -> float:
        if course.step == 4:
            raise Killed
        return learn(clips, rows)

    course._learn = until_four  # type: ignore[method-assign]
    with pytest.raises(Killed):
        course.run(clips, rows)
    resumed = Course(stream, RECIPE, tmp_path / "b")  # type: ignore[arg-type]
    assert resumed.step == 3
    network = resumed.run(clips, rows)
    for left, right in zip(unbroken.state_dict().values(), network.state_dict().values(), strict=True):
        assert torch.equal(left, right)
    assert (tmp_path / "a" / f"{stream}.csv").read_text().count("\n") == 2


def test_another_recipe_does_not_go_on_from_a_checkpoint(tmp_path: Path) -> None:
    Course("rgb", RECIPE, tmp_path).run(tiny(), np.arange(24))
    with pytest.raises(ValueError, match="another recipe"):
        Course("rgb", replace(RECIPE, learning_rate=1.0), tmp_path)


def test_it_learns_what_speed_tells() -> None:
    clips, rows = tiny(), np.arange(24)
    network = Course("flow", replace(RECIPE, steps=150, batch=12), None).run(clips, rows)
    scores = recipe_file.scores_of(network, "flow", clips, rows)
    assert (scores.argmax(1) == clips.labels.numpy()).mean() > 0.8


def test_draws_follow_the_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe_file, "SHARES", {("fight_surv", "normal"): 0.2, ("fight_surv", "fight"): 0.6})
    clips = tiny()
    chance = odds(clips, np.arange(24))
    assert [chance[clips.labels.numpy() == label].sum() for label in range(3)] == pytest.approx([0.25, 0.75, 0])


def test_a_group_is_in_one_fold_and_folds_are_even() -> None:
    sources = [Fake(dataset="fight_surv", group=f"g{n % 17}", name=f"v{n}") for n in range(120)]
    folds = folds_of([*sources, Fake(dataset="gmdcsa24", group="s1", name="x")], seed=3)  # type: ignore[list-item]
    assert set(folds) == {f"g{n}" for n in range(17)} | {"s1"}
    sizes = np.bincount([folds[source.group] for source in sources], minlength=FOLDS)
    assert sizes.max() - sizes.min() <= 8


@pytest.mark.slow  # it starts processes
def test_trainings_side_by_side_give_what_one_alone_gives(tmp_path: Path) -> None:
    clips, table = tiny(), tmp_path / "table.csv"
    cross_validate(clips, RECIPE, table)
    with table.open(newline="", encoding="utf-8") as file:
        rows = {row["video"]: row for row in csv.DictReader(file)}
    assert set(rows) == {source.name for source in clips.sources}, "each clip is judged once"
    folds = folds_of(clips.sources, RECIPE.seed)
    fold = folds["g0"]
    train = clips.of(lambda source: folds[source.group] != fold)
    held = clips.of(lambda source: folds[source.group] == fold)
    alone = scores_of(Course("flow", RECIPE, None).run(clips, train), "flow", clips, held)
    for row, wanted in zip(held, alone, strict=True):
        found = [float(rows[clips.sources[row].name][f"flow_{label}"]) for label in LABELS]
        assert found == pytest.approx(wanted, abs=1e-3)


def test_mirrored_and_cut_out_motion_keeps_its_direction_in_the_picture() -> None:
    torch.manual_seed(0)
    fields = torch.zeros(64, 20, 2, 16, 16)
    fields[:, :, 1] = 2.0
    down = changed_fields(fields, torch.zeros(64, dtype=torch.bool))[:, :, 1].mean((1, 2, 3))
    assert (down > 0).float().mean() > 0.9, "nobody may fall upwards; a random pan may hide it now and then"
    fields = torch.zeros(64, 20, 2, 16, 16)
    fields[:, :, 0] = 2.0
    across = changed_fields(fields, torch.zeros(64, dtype=torch.bool))[:, :, 0].mean((1, 2, 3))
    assert 16 < int((across > 0).sum()) < 48, "half of the clips are mirrored"


def test_only_what_may_be_is_run_backwards() -> None:
    torch.manual_seed(0)
    fields = torch.zeros(64, 20, 2, 16, 16)
    fields[:, 10:, 1] = 6.0
    reversible = torch.arange(64) < 32
    moved = changed_fields(fields, reversible)[:, :, 1].abs().mean((2, 3))
    forwards = moved[:, 10:].mean(1) > moved[:, :10].mean(1)
    assert forwards[32:].all()
    assert 6 < int(forwards[:32].sum()) < 26


def test_changed_pictures_stay_pictures() -> None:
    torch.manual_seed(0)
    images = torch.rand(16, 3, 3, 16, 16)
    changed = changed_images(images)
    assert changed.shape == images.shape
    assert 0 <= float(changed.min()) <= float(changed.max()) <= 1


def test_the_report_counts_videos_and_falls(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    head = "dataset,group,video,label," + ",".join(f"{s}_{label}" for s in STREAMS for label in LABELS)
    rows = [
        "fight_surv,g1,a,fight,0.1,0.9,0,1,0,0",
        "fight_surv,g1,a,fight,0.6,0.4,0,1,0,0",
        "fight_surv,g2,b,normal,0.3,0.7,0,1,0,0",
        "gmdcsa24,s1,c,fall,0.2,0.1,0.7,1,0,0",
        "gmdcsa24,s1,c,normal,0.2,0.1,0.7,1,0,0",
    ]
    table.write_text("\n".join([head, *rows]), encoding="utf-8")
    flow, rgb, both = report(table, 0.1)
    assert "fight or not: 0.500 of 2 videos" in flow
    assert "1/1 clips, 1/1 false" in flow
    assert "0.500 of 2 videos" in rgb
    assert "0/1 clips, 0/1 false" in rgb
    assert both.split()[1:] == flow.split()[1:]


def test_the_description_is_one_that_the_run_time_reads(tmp_path: Path) -> None:
    path = tmp_path / "two_stream.yaml"
    path.write_text(description(123, "both  0.7"), encoding="utf-8")
    spec = spec_from_yaml(path)
    assert spec.clip == CLIP
    assert spec.labels == LABELS
    assert [each.name for each in spec.outputs] == ["scores", "scores_rgb", "scores_flow"]
    assert spec.weights.score == "both 0.7"
