"""What a plan depends on, what is kept of it, and which plans a newer one replaces."""

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from headrace.engines.errors import CacheError
from headrace.engines.trt import cache
from headrace.engines.trt.cache import Card, DamagedPlanError, Site
from headrace.engines.trt.options import BuildOptions
from headrace.models.spec import ModelSpec

SITE = Site(tensorrt="11.4.0.106", gpu="H9", capability="9.0", system="linux", machine="x86_64")


def card(file: Path, plan: bytes = b"plan", **fields: Any) -> Card:
    told: dict[str, Any] = {
        "key": "key",
        "network": "net",
        "file": cache.named(file),
        "onnx": "digest",
        "site": SITE,
        "options": BuildOptions().by_name(),
        "precision": "fp32",
        "layers": 3,
        "plan_bytes": len(plan),
        "plan_digest": sha256(plan).hexdigest(),
        "build_s": 61.5,
        "made_at": "2026-01-01T00:00:00+00:00",
        "driver": 13000,
        "memory_bytes": 1 << 33,
        "parser": 110400,
    }
    return Card(**{**told, **fields})


def test_a_plan_depends_on_each_of_these(segmenter: ModelSpec) -> None:
    frame = segmenter.inputs[0]
    single = replace(segmenter, inputs=(replace(frame, shape=(1, *frame.shape[1:])),))
    keys = {cache.key("digest", SITE, BuildOptions(), segmenter)}
    keys |= {cache.key("other", SITE, BuildOptions(), segmenter), cache.key("digest", SITE, BuildOptions(), single)}
    for field in ("tensorrt", "gpu", "capability", "system", "machine"):
        keys.add(cache.key("digest", replace(SITE, **{field: "other"}), BuildOptions(), segmenter))
    others: list[dict[str, Any]] = [
        {"max_batch": 4},
        {"workspace_bytes": 1 << 28},
        {"level": 5},
        {"tf32": False},
        {"hardware": "ampere_plus"},
        {"version_compatible": True},
        {"refit": True},
        {"strip": True},
        {"aux_streams": 1},
    ]
    assert len(others) == len(BuildOptions().by_name())
    keys |= {cache.key("digest", SITE, BuildOptions(**each), segmenter) for each in others}
    assert len(keys) == 3 + 5 + len(others)
    assert cache.key("digest", SITE, BuildOptions(), segmenter) in keys


def test_what_is_kept_is_read(tmp_path: Path) -> None:
    told = card(tmp_path / "net.onnx")
    assert cache.read("key") is None
    cache.keep(b"plan", told)
    found = cache.read("key")
    assert found is not None
    assert (found.plan, found.card) == (b"plan", told)


def test_a_plan_without_its_card_is_not_there(tmp_path: Path) -> None:
    cache.keep(b"plan", card(tmp_path / "net.onnx"))
    cache.path("key").with_suffix(".json").unlink()
    assert cache.read("key") is None


@pytest.mark.parametrize(
    ("suffix", "left", "said"),
    [
        (".plan", b"pla", r"key\.plan has 3 bytes, and 4 were written"),
        (".plan", b"plam", r"key\.plan is not what was written: its digest differs"),
        (".json", b"{", r"key\.json is damaged"),
        (".json", b"{}", r"key\.json is damaged"),
        (".json", b"[]", r"key\.json is damaged"),
    ],
)
def test_what_is_damaged_is_said(tmp_path: Path, suffix: str, left: bytes, said: str) -> None:
    cache.keep(b"plan", card(tmp_path / "net.onnx"))
    cache.path("key").with_suffix(suffix).write_bytes(left)
    with pytest.raises(DamagedPlanError, match=said):
        cache.read("key")


def test_a_new_plan_under_an_old_card_is_told(tmp_path: Path) -> None:
    """What is found where a process was ended between the two."""
    cache.keep(b"old plan", card(tmp_path / "net.onnx", b"old plan"))
    cache.path("key").write_bytes(b"new plan")
    with pytest.raises(DamagedPlanError):
        cache.read("key")


def test_a_card_says_what_the_plan_is(tmp_path: Path) -> None:
    cache.keep(b"plan", card(tmp_path / "net.onnx"))
    told = json.loads(cache.path("key").with_suffix(".json").read_text())
    assert told["site"]["gpu"] == "H9"
    assert told["options"]["level"] == 3
    assert told["build_s"] == 61.5


def test_a_newer_plan_replaces_what_cannot_be_used_any_more(tmp_path: Path) -> None:
    file, other = tmp_path / "net.onnx", tmp_path / "other.onnx"
    older, newer = replace(SITE, tensorrt="11.3.0.9"), replace(SITE, tensorrt="11.10.0.1")
    kept = {
        "older version": (card(file, site=older), True),
        "much older version": (card(file, site=replace(SITE, tensorrt="10.16.1.11")), True),
        "before the file changed": (card(file, onnx="was"), True),
        "newer version": (card(file, site=newer), False),
        "other GPU": (card(file, site=replace(older, gpu="A9")), False),
        "other options": (card(file, site=older, options=BuildOptions(level=5).by_name()), False),
        "other file": (card(other, site=older), False),
        "other description": (card(file), False),
    }
    for name, (told, _) in kept.items():
        cache.keep(b"plan", replace(told, key=name))
    built = card(file, key="built")
    cache.keep(b"plan", built)
    gone = {each.key for each in cache.evict(built)}
    assert gone == {name for name, (_, goes) in kept.items() if goes}
    assert {path.stem for path in cache.path("").parent.glob("*.plan")} == {*kept, "built"} - gone
    assert {path.stem for path in cache.path("").parent.glob("*.json")} == {*kept, "built"} - gone


def test_the_cards_of_a_file_are_found_newest_first(tmp_path: Path) -> None:
    file = tmp_path / "net.onnx"
    for year in (2024, 2026, 2025):
        cache.keep(b"plan", card(file, key=str(year), made_at=f"{year}-01-01T00:00:00+00:00"))
    cache.keep(b"plan", card(tmp_path / "other.onnx", key="other"))
    (cache.path("bad").with_suffix(".json")).write_text("{")
    assert [each.key for each in cache.cards(file)] == ["2026", "2025", "2024"]


def test_drafts_of_an_ended_process_are_removed(tmp_path: Path) -> None:
    cache.keep(b"plan", card(tmp_path / "net.onnx"))
    folder = cache.path("key").parent
    (folder / ".key.plan.abc.draft").write_bytes(b"half")
    (folder / ".other.plan.abc.draft").write_bytes(b"somebody writes this")
    cache.tidy("key")
    assert sorted(path.name for path in folder.iterdir()) == [".other.plan.abc.draft", "key.json", "key.plan"]


def test_a_disk_without_room_is_said_before_the_build() -> None:
    cache.require_room(1)
    with pytest.raises(
        CacheError, match=r"the disk is full \(about 1000000000000\.0 MB needed, .* MB free\); make room"
    ):
        cache.require_room(10**18)


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("HEADRACE_CACHE", str(tmp_path / "file"))
    with pytest.raises(CacheError, match="cannot write"):
        cache.require_room(1)
