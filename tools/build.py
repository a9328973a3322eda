"""`headrace build`: a network made ready for this machine: checked, narrowed, compiled, proven and kept."""

import argparse
from pathlib import Path

from headrace.models.catalog import spec as spec_of
from headrace.tools.prove import FRAMES, count

CALIBRATION_FRAMES = 64
_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30}
_EXAMPLE = """examples:
  headrace build street                                      what helps without costing accuracy
  headrace build street --precision int8 --calibrate yard.mp4    int8, calibrated on your own footage
  headrace build net.onnx --engine tensorrt --precision fp16 --level 5"""


def main(argv: list[str]) -> int:
    """Build; returns the exit code: 0 done, 1 nothing that was asked for works, 130 interrupted."""
    given = _parser().parse_args(argv)
    spec = spec_of(given.model)
    if given.out is not None and given.out.exists() and not given.out.is_dir():
        raise ValueError(f"--out {given.out}: is not a folder")
    if given.export and given.out is None:
        raise ValueError("--export needs --out DIR: the folder for the network's new file")
    if given.keep_float and given.precision != "int8":
        raise ValueError(f"--keep-float is for --precision int8; --precision is {given.precision}")
    from headrace.tools.build_steps import Build

    return Build(spec, given).run()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="headrace build",
        description="Make a network ready for this machine: check its graph, make its half and int8 files, compile it, "
        "prove it against float32, keep the verdict.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("model", help="a network's name or PATH.onnx")
    add(
        "--precision",
        choices=("auto", "fp32", "fp16", "bf16", "int8"),
        default="auto",
        help="auto: all but int8, which costs accuracy and is made when it is asked for (%(default)s)",
    )
    add("--engine", metavar="NAME", default="auto", help="auto: every engine that works here; or one of them")
    add("--calibrate", metavar="SOURCE", help="footage that int8 is calibrated on (default: the bundled scene)")
    add(
        "--keep-float", metavar="NODE,…", type=_names, default=(), help="nodes or operators that int8 leaves in float"
    )
    add("--source", metavar="SOURCE", help="footage for the proof (default: that of --calibrate)")
    add("--frames", metavar="N", type=count, default=FRAMES, help="how many frames the proof takes (%(default)s)")
    add("--workspace", metavar="SIZE", type=_bytes, help="tensorrt: memory of one layer, such as 512M or 2G")
    add("--level", metavar="0-5", type=int, choices=range(6), help="tensorrt: how long it searches for fast kernels")
    add("--max-batch", metavar="N", type=count, help="tensorrt: the longest batch")
    add("--no-prove", action="store_true", help="compile only; what is not proven is not taken by --engine auto")
    add(
        "--export", action="store_true", help="export the network's torch definition anew, into --out, and build that"
    )
    add("--out", metavar="DIR", type=Path, help="also write the files that were made, each with its description")
    add("--debug", action="store_true", help="show where in the code a failure comes from")
    return parser


def _names(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (name.strip() for name in text.split(","))))


def _bytes(text: str) -> int:
    number, unit = text.rstrip("kKmMgG"), text[len(text.rstrip("kKmMgG")) :].lower()
    if not number.isdecimal() or int(number) == 0 or unit not in _UNITS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 512M or 2G")
    return int(number) * _UNITS[unit]
