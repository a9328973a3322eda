"""Finding a camera where the system's own names are all that there is: macOS and Windows."""

import sys

import av
import pytest

from headrace.stream.errors import RefusedError
from headrace.stream.sources.cameras import Camera, cameras, find_camera


@pytest.fixture
def mac(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Mac as FFmpeg describes it: cameras have a number, microphones are listed among them."""
    found = [
        av.DeviceInfo("0", "FaceTime HD Camera", False, ["video"]),
        av.DeviceInfo("1", "Desk View Camera", False, ["video"]),
        av.DeviceInfo("0", "Built-in Microphone", False, ["audio"]),
    ]
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(av, "enumerate_input_devices", {"avfoundation": found}.__getitem__)


@pytest.mark.usefixtures("mac")
def test_the_system_lists_its_cameras() -> None:
    assert cameras() == [
        Camera(path="0", name="FaceTime HD Camera", driver="avfoundation"),
        Camera(path="1", name="Desk View Camera", driver="avfoundation"),
    ]


@pytest.mark.usefixtures("mac")
@pytest.mark.parametrize("device", [1, "1", "desk view camera", "Desk"])
def test_a_camera_is_found_by_index_and_name(device: int | str) -> None:
    assert find_camera(device).path == "1"


@pytest.mark.usefixtures("mac")
@pytest.mark.parametrize(("device", "text"), [(2, "no camera is called that"), ("camera", "more than one")])
def test_what_is_not_there_is_refused_with_what_is(device: int | str, text: str) -> None:
    with pytest.raises(RefusedError, match=rf"{text}.*0 \(FaceTime HD Camera\), 1 \(Desk View Camera\)"):
        find_camera(device)


def test_a_system_without_a_camera_interface_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "haiku")
    with pytest.raises(RefusedError, match=r"not supported on haiku; on linux, darwin, win32 they are"):
        find_camera(0)
