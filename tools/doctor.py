"""`headrace doctor`: what works here, what does not, and the line that mends it."""

import argparse
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version

EXTRAS: dict[str, tuple[str, str]] = {
    "pygame-ce": ("window", "a window on the screen"),
    "onnxruntime": ("onnx", "the second engine"),
    "torch": ("models", "defining, training and exporting networks"),
    "torchvision": ("models", "the same"),
    "onnx": ("models", "exporting networks"),
}
"""Optional package → the extra that brings it, and what for."""

_NEEDED = ("headrace", "numpy", "av", "opencv-python-headless", "openvino", "PyYAML")


def main(argv: list[str]) -> int:
    """Print the findings; returns 0 where the main job can run, 1 where it cannot."""
    parser = argparse.ArgumentParser(
        prog="headrace doctor",
        description="Versions, devices, missing extras and the line that installs each.",
        epilog="example: headrace doctor",
    )
    parser.add_argument("--debug", action="store_true")
    parser.parse_args(argv)
    print(f"{platform.system()} {platform.release()} {platform.machine()}, Python {platform.python_version()}")
    sound = _packages()
    sound &= _engines()
    _video()
    _window()
    _cameras()
    print("\nready: headrace demo" if sound else "\nnot ready: see above")
    return 0 if sound else 1


def _packages() -> bool:
    print("\npackages")
    sound = True
    for name in _NEEDED:
        found = _version(name)
        sound &= found is not None
        print(f"  {name:24} {found or 'missing: pip install headrace'}")
    for name, (extra, what) in EXTRAS.items():
        missing = f'not installed ({what}): pip install "headrace[{extra}]"'
        print(f"  {name:24} {_version(name) or missing}")
    if _version("opencv-python"):
        print("  opencv-python is installed beside opencv-python-headless: both own cv2; pip uninstall opencv-python")
    return sound


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _engines() -> bool:
    from headrace.engines import available, open_engine
    from headrace.engines.errors import EngineError
    from headrace.models import names

    print(f"\nengines ({len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()} cores)")
    for name, found in available().items():
        print(f"  {name:24} {found}")
    sound = True
    for name in names():
        try:
            with open_engine(name) as engine:
                info = engine.info
                print(f"  network {name:16} runs: {info.backend} {info.version} on {info.device}, {info.precision}")
        except EngineError as error:
            sound = False
            print(f"  network {name:16} does not run: {error}")
    return sound


def _video() -> None:
    import av

    print("\nvideo")
    libavcodec = ".".join(str(part) for part in av.library_versions["libavcodec"])
    print(f"  FFmpeg inside av         libavcodec {libavcodec}")
    codecs = {name: "decodes" for name in ("h264", "hevc", "mjpeg", "av1")} | {"libx264": "encodes"}
    for name, does in codecs.items():
        try:
            av.Codec(name, "w" if does == "encodes" else "r")
            found = "yes"
        except av.codec.codec.UnknownCodecError:
            found = "no"
        print(f"  {does} {name:16} {found}")


def _window() -> None:
    from headrace.stream.sinks.window import window_trouble

    print(f"\nwindow                     {window_trouble() or 'yes'}")


def _cameras() -> None:
    from headrace.stream.sources.cameras import cameras

    found = cameras()
    print(f"cameras                    {len(found) or 'none found'}")
    for camera in found:
        print(f"  {camera.path:24} {camera.name}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
