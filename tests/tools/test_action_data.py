"""Labels, splits and the cache of the action network's clips, on videos made here."""

from pathlib import Path

import av
import numpy as np
import pytest

from headrace.tools.train.action_data import (
    CLIP,
    LABELS,
    Span,
    Story,
    Video,
    examples,
    fight_surv,
    gmdcsa,
    ordinary,
)


def film(path: Path, *, fps: int = 20, seconds: float = 2.5) -> Path:
    """A small video in which a bright square crosses the picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=fps)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(round(fps * seconds)):
            picture = np.full((48, 64, 3), 40, np.uint8)
            left = 2 + index * 40 // round(fps * seconds)
            picture[16:32, left : left + 16] = 220
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


FALLS = Video(
    path=Path("x.mp4"),
    dataset="d",
    group="g",
    spans=(Span(start_s=3.0, end_s=4.5, label="fall"),),
    rest="normal",
)


@pytest.mark.parametrize(
    ("start_s", "label"),
    [(0.0, "normal"), (1.2, "normal"), (1.5, None), (1.8, "fall"), (3.0, "fall"), (3.7, "fall"), (4.0, None)],
)
def test_a_stretch_is_what_fills_half_of_it(start_s: float, label: str | None) -> None:
    assert FALLS.label(start_s, start_s + 2.0) == label


def test_tables_are_read(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text(
        "file,label,scene_group,split\ntrain/a.mp4,fight,g1,train\nval/b.mp4,nofight,g2,val\n",
        encoding="utf-8",
    )
    fight, calm = fight_surv(tmp_path)
    assert (fight.rest, fight.group, fight.split) == ("fight", "g1", "train")
    assert (calm.rest, calm.group, calm.split) == ("normal", "g2", "val")
    (tmp_path / "segments_s1.csv").write_text(
        "file,kind,activity,start_s,end_s\nf.mp4,Fall,Falling (BW),0.4,4.0\nf.mp4,Fall,Standing,0,0.3\n",
        encoding="utf-8",
    )
    (video,) = gmdcsa(tmp_path)
    assert video.group == "s1"
    assert video.spans == (Span(start_s=0.4, end_s=1.9, label="fall"),)


def test_ordinary_videos_that_are_never_trained_on_exist(shared_data: Path) -> None:
    assert sum(video.split == "val" for video in ordinary(shared_data / "video" / "scene")) == 2


def test_a_faster_variant_moves_faster(tmp_path: Path) -> None:
    video = Video(path=film(tmp_path / "a.mp4", seconds=4), dataset="d", group="g")
    quick = Video(path=video.path, dataset="d", group="g", speed=1.5)
    speeds = [np.abs(each.cut()[0][0].flows[..., 0]).mean() for each in (video, quick)]
    assert speeds[1] == pytest.approx(1.5 * speeds[0], rel=0.2)
    assert video.plain
    assert not quick.plain


def test_clips_are_cut_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = Video(path=film(tmp_path / "a.mp4"), dataset="d", group="g", rest="fight")
    first = list(examples([video], cache=tmp_path / "cache"))
    assert [each.label for each in first] == ["fight", "fight"]
    monkeypatch.setattr(Video, "cut", lambda self: pytest.fail("cut twice"))
    again = list(examples([video], cache=tmp_path / "cache"))
    np.testing.assert_array_equal(first[0].flows, again[0].flows)
    np.testing.assert_array_equal(first[0].images, again[0].images)
    assert not list(tmp_path.rglob("*.part"))


def test_a_video_too_short_for_anything_gives_no_clips(tmp_path: Path) -> None:
    video = Video(path=film(tmp_path / "a.mp4", seconds=0.05), dataset="d", group="g")
    assert list(examples([video], cache=tmp_path / "cache")) == []


def test_a_story_of_the_scene_shows_what_it_is_about() -> None:
    clips = Story(kind="room", script="fall", seed=3).cut()
    labels = [label for _, label in clips]
    assert "fall" in labels
    assert set(labels) <= set(LABELS)
    assert all(clip.flows.shape == (20, *CLIP.size, 2) for clip, _ in clips)
