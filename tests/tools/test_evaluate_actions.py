"""What `headrace eval` says of an action network: sources, averages and figures."""

from pathlib import Path

import numpy as np
import pytest

from headrace.tools.evaluate_actions import Judged, alarms, main, report, sources_at


def judged(label: str, group: str, both: list[float]) -> Judged:
    scores = {"both": np.array(both, np.float32), "rgb": np.array([1, 0, 0], np.float32)}
    return Judged(label=label, group=group, video="v", scores={**scores, "flow": scores["both"]})  # type: ignore[arg-type]


def test_accuracy_groups_and_confusion() -> None:
    lines = list(
        report(
            [
                judged("fight", "a", [0.1, 0.8, 0.1]),
                judged("fight", "a", [0.1, 0.7, 0.2]),
                judged("normal", "a", [0.2, 0.1, 0.7]),
                judged("normal", "b", [0.3, 0.6, 0.1]),
            ]
        )
    )
    assert lines[1].split() == ["both", "0.500", "0.750", "0.333"]
    assert lines[2].split() == ["rgb", "0.500", "0.500", "0.667"]
    assert [line.split() for line in lines[7:10]] == [
        ["normal", "0", "1", "1"],
        ["fight", "0", "2", "0"],
        ["fall", "0", "0", "0"],
    ]
    assert lines[-1].split() == ["b:", "0.00", "of", "1"]


def test_neighbouring_clips_are_one_alarm() -> None:
    said = [("v", 0), ("v", 1), ("v", 1), ("v", 0), ("v", 2), ("w", 1)]
    judged_ = [Judged(label="normal", group="g", video=video, scores={}) for video, _ in said]
    fight = Judged(label="fight", group="g", video="w", scores={})
    line = alarms([*judged_, fight], np.array([answer for _, answer in said] + [1]))
    assert line.startswith("false alarms: 3 in 0.001 h")
    assert line.endswith("3600 an hour")


def test_a_folder_is_recognised_by_what_is_in_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such folder"):
        sources_at(str(tmp_path / "absent"), "val")
    with pytest.raises(ValueError, match=r"no labels\.csv"):
        sources_at(str(tmp_path), "val")
    (tmp_path / "street.mp4").touch()
    assert [each.name for each in sources_at(str(tmp_path), "val")] == [f"{tmp_path.name}/street.mp4"]
    (tmp_path / "fight").mkdir()
    (tmp_path / "fight" / "one.mp4").touch()
    assert [each.name for each in sources_at(str(tmp_path), "val")] == ["fight/one.mp4"]
    (tmp_path / "labels.csv").write_text("file,label,scene_group,split\na.mp4,fight,g,val\nb.mp4,fight,h,train\n")
    assert [each.group for each in sources_at(str(tmp_path), "val")] == ["g"]
    assert len(sources_at(str(tmp_path), "all")) == 2
    assert len(sources_at("scene:", "val")) == 48


def test_a_network_that_tells_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="street knows"):
        main(["street", "scene:"])
