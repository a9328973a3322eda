"""Proofs as a machine like this one would have made them, for tests of what becomes of them."""

from typing import Any

from headrace.engines import verdicts
from headrace.engines.base import Precision
from headrace.engines.candidate import Candidate, Proof, Verdict
from headrace.engines.catalog import version
from headrace.engines.network import network_digest
from headrace.engines.store import digest
from headrace.models.spec import ModelSpec


def proof(
    spec: ModelSpec,
    engine: str = "openvino",
    precision: Precision = "fp32",
    *,
    ratio: float | None = 1.0,
    verdict: Verdict = "proven",
    **fields: Any,
) -> Proof:
    """One that holds here and now; `ratio` is its speed over that of onnxruntime fp32, which does 100 a second."""
    found: dict[str, Any] = {
        "reason": "measured by hand",
        "ran": precision,
        "agreement": 0.987,
        "ms": 10.0,
        "fps": None if ratio is None else 100 * ratio,
        "sessions": 2,
        "reference": "onnxruntime 1.31.1 fp32",
        "incumbent": "openvino fp32",
        "device": "CPU",
        "version": version(engine),
        "machine": verdicts.machine_of(engine),
        "digest": network_digest(spec),
        "file": str(spec.weights.file),
        "file_digest": digest(spec.weights.file),
        "frames": 24,
        "made_at": "2026-11-20T12:00:00+00:00",
    }
    candidate = Candidate(engine=engine, precision=precision)
    return Proof(candidate=candidate, verdict=verdict, ratio=ratio, **{**found, **fields})
