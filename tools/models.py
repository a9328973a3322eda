"""`headrace models`: the networks, and all that is known of one."""

import argparse

from headrace.models import ModelSpec, names, spec
from headrace.models.catalog import DEFAULTS


def main(argv: list[str]) -> int:
    """List the networks, or tell everything about one; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="headrace models",
        description="The networks: what they are for, their size, what they score, under what licence.",
        epilog="example: headrace models street",
    )
    parser.add_argument("name", nargs="?", help="a network, or PATH.onnx with its yaml beside it")
    parser.add_argument("--debug", action="store_true")
    options = parser.parse_args(argv)
    if options.name is None:
        print(_table([spec(name) for name in names()]))
    else:
        print(_all_of(spec(options.name)))
    return 0


def _table(specs: list[ModelSpec]) -> str:
    rows = [("name", "task", "input", "parameters", "file", "score")]
    for each in specs:
        default = " *" if DEFAULTS[each.task] == each.name else ""
        width, height = each.size
        rows.append(
            (
                each.name + default,
                each.task,
                f"{width}×{height}",
                f"{each.parameters / 1e6:.2f} M" if each.parameters else "not stated",
                f"{each.weights.file.stat().st_size / 1e6:.1f} MB",
                each.weights.score,
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = ["  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[5]]) for row in rows]
    return "\n".join([*lines, "* what runs where no network is named"])


def _all_of(each: ModelSpec) -> str:
    width, height = each.size
    facts = {
        "task": each.task,
        "summary": each.summary,
        "paper": f"{each.paper} ({each.year})" if each.paper and each.year else each.paper or str(each.year or ""),
        "input": f"{width}×{height}",
        "parameters": f"{each.parameters:,}" if each.parameters else "",
        "labels": ", ".join(each.labels),
        "inputs": ", ".join(f"{t.name} {t.dtype} {t.layout} {_shape(t.shape)}" for t in each.inputs),
        "outputs": ", ".join(f"{t.name} {t.dtype} {t.layout} {_shape(t.shape)}" for t in each.outputs),
        "weights": f"{each.weights.file.name}, {each.weights.file.stat().st_size / 1e6:.1f} MB",
        "trained on": each.weights.trained_on,
        "licence": each.weights.licence,
        "score": each.weights.score,
        "recipe": each.weights.recipe,
    }
    if each.clip is not None:
        clip = each.clip
        facts["clip"] = f"{clip.length_s:g} s, an instant each {clip.spacing_s:g} s, a score each {clip.hop_s:g} s"
    facts["proven here"] = _proven(each)
    return "\n".join([each.name, *(f"  {key:11} {value}" for key, value in facts.items() if value)])


def _proven(each: ModelSpec) -> str:
    """The engines that `auto` may take here, fastest first."""
    from headrace.engines.network import called
    from headrace.engines.verdicts import look

    kept = look(each)
    usable = sorted((proof for proof in kept.holding if proof.usable), key=lambda proof: -(proof.ratio or 0.0))
    if kept.damage:
        return kept.damage
    if not usable:
        stale = " any more: libraries or machine have changed" if kept.stale else ""
        return f"nothing{stale}; headrace prove {called(each)}"
    return ", ".join(f"{proof.candidate} ({proof.fps or 0.0:.0f} a second)" for proof in usable)


def _shape(shape: tuple[int | None, ...]) -> str:
    return "(" + ", ".join("N" if n is None else str(n) for n in shape) + ")"
