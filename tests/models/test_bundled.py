"""What ships with the package says nothing of the machine that made it, and is as small as promised."""

from pathlib import Path

import pytest

from headrace.models import names, spec

_LARGEST_BYTES = 10_000_000


@pytest.mark.parametrize("name", names())
def test_weights_name_no_file_of_the_machine_that_made_them(name: str) -> None:
    held = spec(name).weights.file.read_bytes()
    for sign in (b'.py", line', b"/home/", b"/root/", b"/tmp/", b"site-packages"):
        assert sign not in held, f"{name}.onnx holds {sign!r}"


@pytest.mark.parametrize("name", names())
def test_weights_are_small_and_have_their_card(name: str) -> None:
    file = spec(name).weights.file
    assert file.stat().st_size <= _LARGEST_BYTES
    card = Path(file.with_suffix(".md")).read_text(encoding="utf-8")
    assert "headrace eval" in card, "the card names the command that printed its scores"
    assert "licence" in card.lower()
