"""Proofs as people and programs read them: a table, what it means, and one JSON object."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from headrace.engines.candidate import Proof
from headrace.engines.catalog import BACKENDS, availability, available
from headrace.engines.network import things
from headrace.engines.verdicts import machine_of
from headrace.models.spec import ModelSpec

_MARK = {"reference": "reference", "proven": "proven", "slower": "slower", "off": "OFF", "failed": "failed"}


def table(proofs: Sequence[Proof]) -> list[str]:
    """A line for each proof under a heading; columns that nothing fills are left out."""
    columns: dict[str, Callable[[Proof], str]] = {
        "engine": lambda each: each.candidate.engine,
        "asked": lambda each: each.candidate.precision,
        "ran": lambda each: each.ran or "",
        "agreement": lambda each: _number(each.agreement, ".4f"),
        "max error": lambda each: _number(each.max_error, ".2g"),
        "mean error": lambda each: _number(each.mean_error, ".2g"),
        "top-1": lambda each: _number(each.top1, ".3f"),
        "ms": lambda each: _number(each.ms, ".1f"),
        "fps": lambda each: _number(each.fps, ".0f"),
        "x ref.": lambda each: _number(each.ratio, ".2f"),
        "verdict": _mark,
    }
    cells = {name: [cell(each) for each in proofs] for name, cell in columns.items()}
    filled = {name: column for name, column in cells.items() if any(column)}
    widths = {name: max(len(name), *(len(cell) for cell in column)) for name, column in filled.items()}
    lines = ["  ".join(_aligned(name, name, widths[name]) for name in filled)]
    for row in zip(*filled.values(), strict=True):
        lines.append("  ".join(_aligned(name, cell, widths[name]) for name, cell in zip(filled, row, strict=True)))
    return [line.rstrip() for line in lines]


def notes(proofs: Sequence[Proof], away: Mapping[str, str]) -> list[str]:
    """Why what is not proven is not, and why what is not here is not: a line each."""
    bad = [each for each in proofs if each.verdict in ("slower", "off", "failed")]
    other = [each for each in proofs if each.verdict == "proven" and not each.usable]
    return [
        *(f"{each.candidate} {each.verdict}: {each.reason}{_remedy(each)}" for each in bad),
        *(f"{each.candidate}: {each.reason.partition(':')[0]}, so it is not taken for it" for each in other),
        *(f"{name} not here: {reason}" for name, reason in away.items()),
    ]


def legend(spec: ModelSpec, proofs: Sequence[Proof]) -> str:
    """What the figures are, in a line."""
    first = proofs[0]
    return (
        f"held against {first.reference} on {first.frames} {things(spec)}; ms of one, in one session alone; "
        f"fps with all sessions at once; {machine_of(first.candidate.engine)}"
    )


def lost(proofs: Sequence[Proof]) -> list[str]:
    """What each narrower precision costs, in words; nothing where nothing was compared."""
    found = []
    for each in proofs:
        if each.verdict == "reference" or (each.ran in (None, "fp32") and each.candidate.precision == "fp32"):
            continue
        than = "float32" if each.reference.endswith(" fp32") else each.reference
        if each.agreement is not None:
            found.append(f"{each.candidate}: {1 - each.agreement:.2%} of the pixels get another class than in {than}")
        elif each.top1 is not None:
            words = f"{each.candidate}: {1 - each.top1:.1%} of the inputs get another class than in {than}"
            found.append(f"{words}, scores move by {_number(each.max_error, '.2g')} at most")
    return found


def away(engines: Sequence[str]) -> dict[str, str]:
    """Why engines do not work here, all where none are named; "torch" speaks for "torch:compile" too."""
    found = {name: each.reason for name, each in available().items() if each.reason is not None}
    if engines:
        return {name: reason for name, reason in found.items() if name in engines}
    return {name: reason for name, reason in found.items() if name.partition(":")[0] not in found.keys() - {name}}


def left_out(engines: Sequence[str]) -> list[str]:
    """What works here and was not tried, since nobody named it."""
    return [
        name for name, row in BACKENDS.items() if row.when_named and not engines and availability(name).reason is None
    ]


def write_json(path: Path, spec: ModelSpec, proofs: Sequence[Proof], **more: Any) -> None:
    """The whole run as one JSON object."""
    report = {"network": spec.name, "proofs": [asdict(each) for each in proofs], **more}
    path.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _mark(proof: Proof) -> str:
    # Right and no slower, but not in the precision that it is named for: "proven" would promise that it is used.
    return "not taken" if proof.verdict == "proven" and not proof.usable else _MARK[proof.verdict]


def _remedy(proof: Proof) -> str:
    made_here = proof.candidate.precision == "int8" and not proof.reference.endswith(" int8")
    if proof.verdict != "off" or not made_here:
        return ""
    return "; calibrate on other or more footage, or leave layers in float: headrace build --keep-float"


def _number(value: float | None, shape: str) -> str:
    return "" if value is None or math.isnan(value) else format(value, shape)


def _aligned(name: str, cell: str, width: int) -> str:
    return cell.ljust(width) if name in ("engine", "asked", "ran", "verdict") else cell.rjust(width)
