"""`headrace run`: its options. The work is in `main_job`, imported only when there is some: help is quick."""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from headrace.models.catalog import DEFAULTS

_EXAMPLE = """examples:
  headrace run 0                                    the first webcam, in a window
  headrace run rtsp://user:password@camera/1 --save gate.mp4 --jsonl gate.jsonl
  headrace run street.mp4 --show none --action none
  headrace run 'scene:street?seconds=10' hall.mp4   two sources side by side"""


def main(argv: list[str]) -> int:
    """Run sources through the networks; returns the exit code."""
    options = parse(argv)
    from headrace.tools.main_job import run

    return run(options)


def parser() -> argparse.ArgumentParser:
    """The options of `run`."""
    parser = argparse.ArgumentParser(
        prog="headrace run",
        description="Capture, decode, infer and render one or more sources.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="0, /dev/video0, a camera's name, URL, file, folder or scene:",
    )
    add(
        "--segment",
        metavar="NAME",
        default=DEFAULTS["segment"],
        help="network, PATH.onnx or none (%(default)s)",
    )
    add(
        "--action",
        metavar="NAME",
        default=DEFAULTS["action"],
        help="network, PATH.onnx or none (%(default)s)",
    )
    add("--streams", choices=("both", "rgb", "flow"), default="both", help="streams of a two-stream network")
    add(
        "--engine",
        default="auto",
        help="auto: the fastest that is proven here; or tensorrt, openvino, onnxruntime, torch, "
        "or a form of one, as onnxruntime:cuda or torch:compile; headrace doctor lists them (%(default)s)",
    )
    add("--precision", default="auto", help="auto, fp32, fp16, bf16 or int8 (%(default)s)")
    add(
        "--keep",
        choices=("auto", "latest", "every"),
        default="auto",
        help="which frames; auto: files every one",
    )
    add("--pace", choices=("none", "live"), default="none", help="live: play files at their own speed")
    add("--loop", action="store_true", help="files begin again at their end")
    add("--transport", choices=("tcp", "udp"), default="tcp", help="of RTSP (%(default)s)")
    add("--camera-size", metavar="WxH", type=_size, help="ask a webcam for this size")
    add("--camera-fps", metavar="N", type=_positive, help="ask a webcam for this rate")
    add("--camera-format", metavar="NAME", help="ask a webcam for this format: mjpeg, yuyv …")
    add(
        "--show",
        choices=("auto", "window", "none"),
        default="auto",
        help="auto: a window where there is a display",
    )
    add(
        "--save",
        metavar="PATH.mp4",
        type=Path,
        help="save the rendered picture; of several sources each: PATH-NAME.mp4",
    )
    add("--jsonl", metavar="PATH", help="one record per rendered frame; - for standard output")
    add("--draw", action="store_true", help="draw pictures even where nothing shows them (to measure it)")
    add("--frames", metavar="N", type=_positive_int, help="stop each stream after so many frames")
    add("--seconds", metavar="S", type=_positive, help="stop each stream after so many seconds")
    add("--config", metavar="PATH.yaml", type=Path, help="the same options in a file; the command line wins")
    add("--quiet", action="store_true", help="no live line, no table at the end")
    add("--debug", action="store_true", help="show where in the code a failure comes from")
    return parser


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The options from the command line, and from `--config` where it is given.

    Raises:
        ValueError: the file names an option that there is not.
    """
    found = parser()
    config = argparse.ArgumentParser(add_help=False)
    config.add_argument("--config", type=Path)
    path = config.parse_known_args(argv)[0].config
    if path is not None:
        defaults = _read_config(path, found)
        sources = defaults.pop("sources", None)
        found.set_defaults(**defaults)
        if sources is not None:
            for action in found._actions:
                if action.dest == "sources":
                    action.nargs, action.default = "*", sources
    return found.parse_args(argv)


def _read_config(path: Path, options: argparse.ArgumentParser) -> dict[str, Any]:
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise ValueError(f"--config {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"--config {path}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(given, dict):
        raise ValueError(f"--config {path}: expected options, found {type(given).__name__}")
    actions = {action.dest: action for action in options._actions}
    fields = {str(key).replace("-", "_"): value for key, value in given.items()}
    unknown = sorted(set(fields) - set(actions))
    if unknown:
        raise ValueError(f"--config {path}: no option {', '.join(unknown)}; there are: {', '.join(sorted(actions))}")
    for key, value in fields.items():
        if key == "sources":
            fields[key] = [str(each) for each in (value if isinstance(value, list) else [value])]
        elif value is not None:
            try:
                fields[key] = _value(actions[key], value)
            except (ValueError, argparse.ArgumentTypeError) as error:
                raise ValueError(f"--config {path}: {key}={value!r}: {error}") from None
    return fields


def _value(action: argparse.Action, value: object) -> object:
    """What the command line would have made of a value of the file."""
    if action.nargs == 0:  # a flag
        if not isinstance(value, bool):
            raise ValueError("not true or false")
        return value
    if isinstance(value, list | dict):
        raise ValueError("not one word")
    made = action.type(str(value)) if callable(action.type) else str(value)
    if action.choices is not None and made not in action.choices:
        raise ValueError(f"not one of {', '.join(action.choices)}")
    return made


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 1280x720")
    return int(width), int(height)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < math.inf:  # nan is neither
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def _positive_int(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)
