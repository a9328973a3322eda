"""An engine that could run a network, and what was found when it was held against the float32 reference."""

from dataclasses import dataclass
from typing import Literal, get_args

from headrace.engines.base import Precision

Verdict = Literal["reference", "proven", "slower", "off", "failed"]
"""What a proof found.

reference: what the others are held against; right by definition.
proven: its results agree with the reference's, and it is not slower than the engine that it would replace.
slower: its results agree, but it is slower than the engine that it would replace.
off: its results are not the reference's.
failed: it could not be built, opened or run.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One way to run a network."""

    engine: str
    """A name of `BACKENDS`."""
    precision: Precision
    """Which file of the network it runs: the float one (fp32, bf16), the half one or the quantized one."""
    options: tuple[tuple[str, int | str | bool], ...] = ()
    """How it is built where that is not as usual: fields of the engine's options with their values."""

    def __post_init__(self) -> None:
        if self.precision not in get_args(Precision):
            allowed = ", ".join(get_args(Precision))
            raise ValueError(f"Candidate.precision {self.precision!r} is not one of {allowed}")
        for name, value in self.options:
            if not isinstance(value, int | str):
                raise ValueError(f"Candidate.options {name}={value!r} is no number, text or flag")

    def __str__(self) -> str:
        options = ", ".join(f"{name}={value}" for name, value in self.options)
        return f"{self.engine} {self.precision}" + (f" ({options})" if options else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What was measured of one candidate, on which frames, with what, and the verdict."""

    candidate: Candidate
    verdict: Verdict
    reason: str
    """Why that verdict, in words and figures."""
    ran: Precision | None = None
    """What the arithmetic really was; None where it did not open."""
    agreement: float | None = None
    """Share of class ids that are the reference's; None where the network gives no class ids."""
    max_error: float | None = None
    """Greatest difference of a score; None where the network gives no scores."""
    mean_error: float | None = None
    """Mean difference of a score."""
    top1: float | None = None
    """Share of results whose best class is the reference's; None where there are no scores of classes."""
    ms: float | None = None
    """Of one frame (or clip) in one session that runs alone."""
    fps: float | None = None
    """Frames (or clips) per second with all sessions at once."""
    sessions: int = 0
    """How many those are."""
    ratio: float | None = None
    """`fps` over the reference's, measured in turn with it. Between two proofs this compares, not `fps`:
    they may have been made at different times, beside other work."""
    reference: str
    """What it was held against: engine, version and precision."""
    incumbent: str
    """The engine that it would replace."""
    device: str
    """As the engine names it."""
    version: str
    """Of the engine's library."""
    machine: str
    """The processor with its cores in use, and the GPU where the engine runs on one."""
    digest: str
    """sha256 of the network's file."""
    file: str
    """The file that ran: the network's own, or one made from it."""
    file_digest: str
    frames: int
    """How many were compared."""
    source: str = ""
    """The footage that they are of, in words; never a password."""
    made_at: str
    """ISO 8601, UTC."""

    def __post_init__(self) -> None:
        if self.verdict not in get_args(Verdict):
            raise ValueError(f"Proof.verdict {self.verdict!r} is not one of {', '.join(get_args(Verdict))}")
        for name in ("agreement", "max_error", "mean_error", "top1", "ms", "fps", "ratio"):
            if not isinstance(getattr(self, name), float | int | None):
                raise ValueError(f"Proof.{name} {getattr(self, name)!r} is no number")
        if self.usable and None in (self.ms, self.fps, self.ratio):
            raise ValueError(f"Proof of {self.candidate}: {self.verdict}, but its speed was not measured")

    @property
    def usable(self) -> bool:
        """Whether "auto" may take it: the results are right, no slower, and of the precision that it is named for."""
        return self.verdict in ("reference", "proven") and self.ran == self.candidate.precision
