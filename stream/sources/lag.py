"""How far a live stream has fallen behind: its own clock against ours."""

from headrace.stream.errors import SourceError

_DRIFT = 2e-4
"""No two clocks agree: a camera's may lose this much without being called late."""
_JUMP_S = 10.0
"""A difference that changes by more than this, over the time that passed, is a clock that was set."""
_SUSTAINED_S = 3.0
"""A link that was cut for a while catches up within this; one that is too thin does not."""


class FellBehindError(SourceError):
    """The link holds pictures back faster than it lets them through. Opening it again throws the old ones away."""


class Lag:
    """Watches the times of packets.

    A camera that is reached over TCP never loses a picture: where the link is too thin for them they queue up, and
    each one shown is older than the last.

    Args:
        limit_s: how far behind is too far.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._arrival_s = 0.0
        self._offset_s: float | None = None
        self._best_s = 0.0
        self._late_since_s: float | None = None

    def of(self, arrival_ns: int, pts_s: float) -> float:
        """Seconds behind the quickest packet so far.

        Raises:
            FellBehindError: it is too far behind, and does not catch up.
        """
        arrival_s = arrival_ns / 1e9
        offset_s, gap_s = arrival_s - pts_s, arrival_s - self._arrival_s
        if self._offset_s is None or abs(offset_s - self._offset_s) > gap_s + _JUMP_S:
            self._best_s, self._late_since_s = offset_s, None
        else:
            self._best_s = min(offset_s, self._best_s + gap_s * _DRIFT)
        self._arrival_s, self._offset_s = arrival_s, offset_s
        lag_s = offset_s - self._best_s
        self._judge(lag_s)
        return lag_s

    def _judge(self, lag_s: float) -> None:
        if lag_s <= self._limit_s:
            self._late_since_s = None
            return
        self._late_since_s = self._arrival_s if self._late_since_s is None else self._late_since_s
        if self._arrival_s - self._late_since_s >= _SUSTAINED_S:
            raise FellBehindError(
                f"the pictures come {lag_s:.1f} s late, and later and later: the link is too thin for them; "
                "ask the camera for a smaller picture or fewer bits, or use UDP"
            )
