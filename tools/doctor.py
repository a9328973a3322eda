"""`headrace doctor`: what works here, what does not, and the line that mends it."""

import argparse
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

EXTRAS: dict[str, tuple[str, str]] = {
    "pygame-ce": ("window", "a window on the screen"),
    "onnxruntime": ("onnx", "the second engine, and int8"),
    "onnx": ("onnx", "building networks for this machine"),
    "torch": ("models", "defining, training and exporting networks"),
    "torchvision": ("models", "the same"),
    "tensorrt": ("tensorrt", "the engine of NVIDIA GPUs"),
    "pycuda": ("tensorrt", "the same; is compiled: needs gcc and the CUDA headers"),
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
    _nvidia()
    sound &= _engines()
    _cache()
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
    from headrace.engines.cores import usable_cores
    from headrace.engines.errors import EngineError
    from headrace.models import names

    cores = usable_cores()
    print(f"\nengines ({cores} core{'' if cores == 1 else 's'})")
    for name, found in available().items():
        print(f"  {name:24} {found}")
    sound = True
    for name in names():
        try:
            with open_engine(name) as engine:
                info = engine.info
                print(f"  network {name:16} runs: {info.backend} {info.version} on {info.device}, {info.precision}")
                print(f"  {'':24} {engine.why.removeprefix(name + ': ')}")
        except EngineError as error:
            sound = False
            print(f"  network {name:16} does not run: {error}")
    return sound


def _nvidia() -> None:
    """GPU, driver, CUDA and TensorRT, and whether they fit each other."""
    from headrace.engines.nvidia import look

    found = look()
    print("\nNVIDIA")
    if found.trouble is not None:
        print(f"  {found.trouble}")
    for gpu in found.gpus:
        print(f"  {'GPU':24} {gpu}")
    if found.cuda is not None:
        print(f"  {'driver':24} {found.driver or 'version unknown'}, for CUDA up to {found.cuda[0]}.{found.cuda[1]}")
    if found.tensorrt is not None:
        cuda = "" if found.tensorrt_cuda is None else f", built for CUDA {found.tensorrt_cuda}"
        print(f"  {'TensorRT':24} {found.tensorrt}{cuda}")
    misfits = list(found.misfits())
    for line in misfits:
        print(f"  ! {line}")
    if found.gpus and found.tensorrt is not None and not misfits:
        print("  these fit each other; the path was checked without such hardware: make test-gpu checks it on yours")


def _cache() -> None:
    from headrace.engines.store import cache_root

    root = cache_root()
    size = sum(_size_bytes(path) for path in root.rglob("*")) if root.is_dir() else 0
    print(f"\ncache                      {root}, {size / 1e6:.1f} MB of built networks and verdicts")


def _size_bytes(path: Path) -> int:
    """Of a file; 0 for what a build beside this has just taken away."""
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:
        return 0


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
