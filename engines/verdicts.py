"""What was proven of a network on this machine, kept beside its variants and read as long as it still holds."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from headrace.engines import machine
from headrace.engines.base import Precision
from headrace.engines.candidate import Candidate, Proof
from headrace.engines.catalog import BACKENDS, version
from headrace.engines.network import network_digest, network_folder
from headrace.engines.store import digest, locked, put
from headrace.models.spec import ModelSpec

_FORMAT = 1
"""Raised when proofs are made or written differently: what was kept before does not count any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdicts:
    """What is kept of one network."""

    holding: tuple[Proof, ...] = ()
    """Made with the network, the libraries and the machine as they are now."""
    stale: tuple[tuple[Proof, str], ...] = ()
    """The others, each with what has changed since."""
    damage: str = ""
    """Why the file cannot be read, where it is there and cannot; it counts as if it were not."""


def keep(spec: ModelSpec, proofs: Sequence[Proof]) -> None:
    """Remember proofs; each replaces what was kept of its candidate on the same footage.

    Raises:
        CacheError: the cache folder cannot be written.
    """
    path = verdicts_file(spec)
    with locked(path):
        kept, _ = _load(path)
        _write(path, spec, {(each.candidate, each.source): each for each in [*kept, *proofs]}.values())


def disprove(spec: ModelSpec, engine: str, precision: Precision, reason: str) -> None:
    """What was proven of an engine counts no longer: it failed since, while it ran.

    Raises:
        CacheError: the cache folder cannot be written.
    """
    path = verdicts_file(spec)
    with locked(path):
        kept, _ = _load(path)
        named = [(each, (each.candidate.engine, each.candidate.precision) == (engine, precision)) for each in kept]
        if any(match for _, match in named):
            failed = [replace(each, verdict="failed", reason=reason) if match else each for each, match in named]
            _write(path, spec, failed)


def look(spec: ModelSpec) -> Verdicts:
    """All that is kept of a network: what holds, what does not and why."""
    kept, damage = _load(verdicts_file(spec))
    whole = network_digest(spec)
    changed = [(each, _change(each, whole)) for each in kept]
    # Speeds are told as shares of the reference's: of another reference they are other figures.
    newest = max((each for each, change in changed if not change), key=lambda each: each.made_at, default=None)
    if newest is not None:
        changed = [(each, change or _other_reference(each, newest)) for each, change in changed]
    return Verdicts(
        holding=tuple(_by_candidate([each for each, change in changed if not change])),
        stale=tuple((each, change) for each, change in changed if change),
        damage=damage,
    )


def read(spec: ModelSpec) -> tuple[Proof, ...]:
    """The proofs that still hold on this machine."""
    return look(spec).holding


def overruled(spec: ModelSpec, proofs: Sequence[Proof]) -> list[str]:
    """Of kept proofs that are right: what was off or failed on other footage, and so is not taken; a line each."""
    held = {each.candidate: each for each in read(spec)}
    return [
        f"{each.candidate} is not taken: on {other.source or 'other footage'} it was {other.verdict}: {other.reason}"
        for each in proofs
        if each.usable and (other := held.get(each.candidate)) is not None and not other.usable
    ]


def verdicts_file(spec: ModelSpec) -> Path:
    """Where they are kept."""
    return network_folder(spec) / "proofs.json"


def machine_of(engine: str) -> str:
    """What of this machine decides how an engine runs."""
    return "; ".join(filter(None, (machine.cpu(), machine.gpu() if BACKENDS[engine].on == "gpu" else "")))


def _by_candidate(proofs: Sequence[Proof]) -> Iterable[Proof]:
    """One proof of each candidate: the newest, but what is off or failed on any footage is so."""
    found: dict[Candidate, Proof] = {}
    for each in sorted(proofs, key=lambda each: each.made_at):
        before = found.get(each.candidate)
        if before is None or before.verdict not in ("off", "failed") or each.verdict in ("off", "failed"):
            found[each.candidate] = each
    return found.values()


def _write(path: Path, spec: ModelSpec, proofs: Iterable[Proof]) -> None:
    record = {
        "format": _FORMAT,
        "network": spec.name,
        "digest": network_digest(spec),
        "proofs": [asdict(each) for each in proofs],
    }
    put(path, json.dumps(record, indent=1).encode())


def _change(proof: Proof, network: str) -> str:
    """What is no longer as it was when the proof was made; empty where all is."""
    engine = proof.candidate.engine
    if engine not in BACKENDS:
        return f"there is no engine {engine} any more"
    if proof.digest != network:
        return "proven with other weights"
    here = version(engine)
    if proof.version != here:
        name = engine.partition(":")[0]
        return f"proven with {name} {proof.version}, here is {here or 'none'}"
    there = machine_of(engine)
    if proof.machine != there:
        return f"proven on {proof.machine}, here is {there}"
    file = Path(proof.file)
    if not file.is_file() or digest(file) != proof.file_digest:
        return f"proven with another {proof.candidate.precision} file"
    return ""


def _other_reference(proof: Proof, newest: Proof) -> str:
    if proof.reference == newest.reference:
        return ""
    return f"proven against {proof.reference}, what is newer against {newest.reference}"


def _load(path: Path) -> tuple[list[Proof], str]:
    """What a file has, and why it cannot be read where it cannot."""
    try:
        record = json.loads(path.read_bytes())
        if record["format"] != _FORMAT:
            return [], f"{path} is of another version of headrace"
        return [_proof(fields) for fields in record["proofs"]], ""
    except FileNotFoundError:
        return [], ""
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return [], f"{path} is damaged ({type(error).__name__}: {error})"


def _proof(fields: dict[str, Any]) -> Proof:
    named = fields["candidate"]
    options = tuple((str(name), value) for name, value in named["options"])
    return Proof(**{**fields, "candidate": Candidate(**{**named, "options": options})})
