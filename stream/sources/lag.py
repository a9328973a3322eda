"""How far a live stream has fallen behind: its own clock against ours."""

from headrace.stream.errors import SourceError

_DRIFT = 2e-4
"""No two clocks agree: a camera's may lose this much without being called late."""
_JUMP_S = 10.0
"""A difference that changes by more than this, over the time that passed, is a clock that was set."""
_SUSTAINED_S = 3.0
"""A link that was cut for a while catches up within this; one that is too thin does not."""
_WAITING_SHARE = 0.5
"""The link is too thin if a late reader spends at least this share of its time on waiting for it."""


class FellBehindError(SourceError):
    """The link holds pictures back faster than it lets them through. Opening it again throws the old ones away."""


class Lag:
    """Watches the times of packets.

    A camera that is reached over TCP never loses a picture: where the link is too thin for them they queue up, and
    each one shown is older than the last. They queue up as well where their reader takes its time, as one that keeps
    every frame may; then they are there as soon as they are asked for, and that is no fault of the link.

    Args:
        limit_s: how far behind is too far.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._arrival_s = 0.0
        self._offset_s: float | None = None
        self._best_s = 0.0
        self._late_since_s: float | None = None
        self._waited_s = 0.0

    def of(self, arrival_ns: int, pts_s: float, waited_s: float) -> float:
        """Seconds behind the quickest packet so far.

        Args:
            arrival_ns: when it was read, on the monotonic clock.
            pts_s: its time.
            waited_s: how long its reader had to wait for it.

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
        self._judge(lag_s, waited_s)
        return lag_s

    def _judge(self, lag_s: float, waited_s: float) -> None:
        if lag_s <= self._limit_s:
            self._late_since_s = None
            return
        if self._late_since_s is None:
            self._late_since_s, self._waited_s = self._arrival_s, 0.0
            return
        self._waited_s += waited_s
        late_s = self._arrival_s - self._late_since_s
        if late_s < _SUSTAINED_S:
            return
        if self._waited_s >= _WAITING_SHARE * late_s:
            raise FellBehindError(
                f"the pictures come {lag_s:.1f} s late, and later and later: the link is too thin for them; "
                "ask the camera for a smaller picture or fewer bits, or use UDP"
            )
        # Its reader was elsewhere for most of that time. What comes next is judged for itself.
        self._late_since_s = None
