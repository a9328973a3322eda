"""`headrace prove`: every engine that works here against the float32 reference, for output and for speed."""

import argparse
import sys
from pathlib import Path

from headrace.models.catalog import spec as spec_of
from headrace.models.spec import ModelSpec

FRAMES = 24


def main(argv: list[str]) -> int:
    """Prove, keep the verdicts, print the table and what `auto` takes; returns the exit code."""
    given = _parser().parse_args(argv)
    spec = spec_of(given.model)
    if given.json is not None and not given.json.parent.is_dir():
        raise ValueError(f"--json {given.json}: there is no folder {given.json.parent}")
    from headrace.engines.catalog import check_names

    for name in given.engine:
        check_names(name, "auto")
    if "auto" in given.engine:  # all of them, as in the other commands
        given.engine = []
    return _prove(spec, given)


def _prove(spec: ModelSpec, given: argparse.Namespace) -> int:
    from headrace.engines import choose, prove, verdicts
    from headrace.engines.network import called, network_digest
    from headrace.engines.proof import has_int8
    from headrace.stream.footage import feeds
    from headrace.tools import proof_table
    from headrace.tools.steps import source_name, told

    away = proof_table.away(given.engine)
    if given.engine and set(given.engine) <= away.keys():
        return _nothing_here(away)
    frames = feeds(spec, given.source, given.frames, told=told)
    proofs = prove(spec, frames, source=source_name(given.source), named=given.engine, told=told)
    if not proofs:
        engines = " and ".join(given.engine)
        return _nothing_here(
            {"": f"{spec.weights.file}: not a file that {engines} can run: its precision is another"}
        )
    print(f"{spec.name} on {source_name(given.source)}")
    print(f"{proof_table.legend(spec, proofs)}\n")
    print("\n".join(proof_table.table(proofs)))
    print("\n".join(["", *proof_table.notes(proofs, away)]))
    for name in proof_table.left_out(given.engine):
        print(f"{name} is tried where it is named: headrace prove {called(spec)} --engine {name}")
    verdicts.keep(spec, proofs)
    for line in verdicts.overruled(spec, proofs):
        print(line)
    if not has_int8(spec):
        print(f"int8 is not made: headrace build {called(spec)} --precision int8")
    why = choose(spec).why
    print(f"\nauto: {why}")
    if given.json is not None:
        proof_table.write_json(
            given.json,
            spec,
            proofs,
            digest=network_digest(spec),
            source=source_name(given.source),
            frames=len(frames),
            away=away,
            auto=why,
        )
    return 0 if any(each.usable or each.verdict == "slower" for each in proofs) else 1


def _nothing_here(away: dict[str, str]) -> int:
    for reason in away.values():
        print(f"headrace prove: {reason}", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="headrace prove",
        description="Run the same real frames through every engine and through the float32 reference: compare what "
        "comes out, and how fast. The verdicts are kept; `--engine auto` takes the fastest proven one.",
        epilog="example: headrace prove street --source yard.mp4",
    )
    add = parser.add_argument
    add("model", help="a network's name or PATH.onnx")
    add(
        "--source",
        metavar="SOURCE",
        help="where the frames come from (default: the scene that ships with the package)",
    )
    add("--frames", metavar="N", type=count, default=FRAMES, help="how many frames, or clips (%(default)s)")
    add(
        "--engine",
        metavar="NAME",
        action="append",
        default=[],
        help="only this one; may be given several times; auto: all",
    )
    add("--json", metavar="PATH", type=Path, help="write the figures there too")
    add("--debug", action="store_true", help="show where in the code a failure comes from")
    return parser


def count(text: str) -> int:
    """A whole number above 0, as an option's value."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)
