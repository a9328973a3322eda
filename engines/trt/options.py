"""How a plan is built: what a user may set, checked, and by name as the cache keeps it."""

from dataclasses import asdict, dataclass
from typing import Literal

Hardware = Literal["none", "ampere_plus", "same_compute_capability"]
_HARDWARE: tuple[Hardware, ...] = ("none", "ampere_plus", "same_compute_capability")
_LEVELS = range(6)
_LEAST_WORKSPACE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """What a plan is built with; another value of any of them is another plan."""

    max_batch: int = 8
    """The longest batch of one run; longer ones are cut into several runs."""
    workspace_bytes: int = 1 << 30
    """What one layer may take of the GPU's memory while it runs."""
    level: int = 3
    """How long is searched for fast kernels: 0 (seconds) to 5 (very long)."""
    tf32: bool = True
    """Lets float32 convolutions round their inputs to 10 bits of mantissa, as NVIDIA's libraries do by themselves."""
    hardware: Hardware = "none"
    """Which other GPUs the plan may run on; more of them make it slower."""
    version_compatible: bool = False
    """Lets newer versions of TensorRT load the plan, which then carries code of its own."""
    refit: bool = False
    """Lets the weights be exchanged later (`inspect.refit`)."""
    strip: bool = False
    """Leaves the weights out of the plan: it is small, and takes them from the network's file when it is loaded."""
    aux_streams: int = 0
    """Streams that one run may use beside its own; sessions already run side by side."""

    def __post_init__(self) -> None:
        if self.max_batch < 1:
            raise ValueError(f"max_batch: got {self.max_batch}, allowed: 1 or more")
        if self.workspace_bytes < _LEAST_WORKSPACE_BYTES:
            raise ValueError(
                f"workspace_bytes: got {self.workspace_bytes}, allowed: {_LEAST_WORKSPACE_BYTES} or more"
            )
        if self.level not in _LEVELS:
            raise ValueError(f"level: got {self.level}, allowed: {_LEVELS[0]} to {_LEVELS[-1]}")
        if self.hardware not in _HARDWARE:
            raise ValueError(f"hardware: got {self.hardware!r}, allowed: {', '.join(_HARDWARE)}")
        if self.aux_streams < 0:
            raise ValueError(f"aux_streams: got {self.aux_streams}, allowed: 0 or more")

    def by_name(self) -> dict[str, int | bool | str]:
        """Every option by its name: TensorRT's own numbers for them differ between its versions."""
        return asdict(self)


def batch_lengths(most: int) -> tuple[int, ...]:
    """The lengths that a session prepares: 1, 2, 4 and so on, up to and with the longest."""
    lengths = [1 << power for power in range(most.bit_length()) if 1 << power < most]
    return (*lengths, most)
