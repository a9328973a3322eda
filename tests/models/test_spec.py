"""Descriptions of networks that cannot be read are told in a line."""

from pathlib import Path

import pytest

from headrace.models.errors import BadSpecError
from headrace.models.spec import spec_from_yaml


@pytest.mark.parametrize("damage", [b"name: a\nkind: ? b\n  c: [", b"name: \xff\xfe"], ids=["syntax", "bytes"])
def test_what_is_no_yaml_is_one_line_with_the_file(damage: bytes, tmp_path: Path) -> None:
    path = tmp_path / "net.yaml"
    path.write_bytes(damage)
    with pytest.raises(BadSpecError) as caught:
        spec_from_yaml(path)
    assert str(caught.value).startswith(f"{path}: not YAML: ")
    assert "\n" not in str(caught.value)
