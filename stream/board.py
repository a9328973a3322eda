"""Where a stream's action scores hang, for the renderer to read."""

import sys
import threading
from collections import Counter, deque

from headrace.stream.frame import Action

Actions = tuple[Action, ...]


class ActionBoard:
    """The newest scores of one stream.

    Live, a frame shows the newest there is. Where every frame counts, the renderer waits until all clips that end at
    or before the frame are scored and shows those, so a file gives the same records each time it is played.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._posted: deque[tuple[int, int, Actions]] = deque(maxlen=64)
        self._looked_at = -1
        self._unscored: Counter[int] = Counter()
        self._over = False

    def looked_at(self, seq: int, clips: int) -> None:
        """The motion stage has looked at a frame, and cut so many clips that end with it."""
        with self._changed:
            self._looked_at = max(self._looked_at, seq)
            if clips:
                self._unscored[seq] += clips
            self._changed.notify_all()

    def looked_at_all(self) -> None:
        """The motion stage has seen the last frame; clips may still be on their way to be scored."""
        self.looked_at(sys.maxsize, 0)

    def post(self, seq: int, epoch: int, actions: Actions) -> None:
        """Scores of the clip that ends with frame `seq`, the most probable first."""
        with self._changed:
            self._posted.append((seq, epoch, actions))
            self._scored(seq)

    def forget(self, seq: int) -> None:
        """A clip will not be scored."""
        with self._changed:
            self._scored(seq)

    def _scored(self, seq: int) -> None:
        self._unscored[seq] -= 1
        self._unscored += Counter()  # drops what has come down to zero
        self._changed.notify_all()

    def newest(self, epoch: int) -> Actions:
        """The newest scores; none from before a discontinuity."""
        with self._changed:
            return self._find(None, epoch)

    def at(self, seq: int, epoch: int) -> Actions:
        """The newest scores of clips that end at or before frame `seq`, once they are all there."""
        with self._changed:
            self._changed.wait_for(lambda: self._over or self._complete(seq))
            return self._find(seq, epoch)

    def _complete(self, seq: int) -> bool:
        return self._looked_at >= seq and all(at > seq for at in self._unscored)

    def _find(self, seq: int | None, epoch: int) -> Actions:
        for at, of_epoch, actions in reversed(self._posted):
            if (seq is None or at <= seq) and of_epoch == epoch:
                return actions
        return ()

    def end(self) -> None:
        """Nothing more comes, not even the scores of clips that are under way; whoever waits goes on."""
        with self._changed:
            self._over = True
            self._changed.notify_all()
