"""A window that shows the newest picture of each stream."""

import math
import os
import sys
from collections.abc import Callable
from types import ModuleType

import cv2
import numpy as np

from headrace.stream.arrays import U8
from headrace.stream.errors import SinkClosed, SinkError
from headrace.stream.frame import Result
from headrace.stream.picture import letterboxed
from headrace.stream.stats import StreamStats

_LARGEST = (1600, 900)


def window_trouble() -> str | None:
    """Why no window can be opened here; None where one can."""
    # The display first: without one nothing is gained by installing anything.
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return "there is no display (DISPLAY and WAYLAND_DISPLAY are not set)"
    try:
        _pygame()
    except SinkError as error:
        return str(error)
    return None


def _pygame() -> ModuleType:
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    try:
        import pygame
    except ImportError:
        raise SinkError('a window needs pygame-ce: pip install "headrace[window]"') from None
    return pygame


class WindowSink:
    """Shows results side by side, a tile for each stream.

    Args:
        on_quit: called when q or Esc is pressed in the window.
        title: of the window.
    """

    name = "window"
    wants_pictures = True
    wants_all = False

    def __init__(self, on_quit: Callable[[], None], title: str = "Headrace") -> None:
        self._on_quit = on_quit
        self._title = title
        self._game: ModuleType | None = None
        self._tiles: dict[str, U8] = {}

    def open(self) -> None:
        """See that a window can be had; it opens with the first picture, whose size it takes."""
        trouble = window_trouble()
        if trouble:
            raise SinkError(f"cannot open a window: {trouble}")

    def write(self, result: Result) -> None:
        """Show a picture, and look at the keys."""
        assert result.drawn is not None, "this sink wants pictures"
        new = result.frame.stream_id not in self._tiles
        self._tiles[result.frame.stream_id] = result.drawn
        picture = self._mosaic()
        if self._game is None or (new and len(self._tiles) > 1):
            self._show_window(picture)
        self._paint(picture)
        self._look_at_keys()

    def _show_window(self, picture: U8) -> None:
        game = _pygame()
        height, width = picture.shape[:2]
        scale = min(1.0, _LARGEST[0] / width, _LARGEST[1] / height)
        try:
            game.display.init()
            game.display.set_caption(self._title)
            game.display.set_mode((round(width * scale), round(height * scale)), game.RESIZABLE)
        except game.error as error:
            raise SinkError(f"cannot open a window: {error}") from error
        self._game = game

    def _mosaic(self) -> U8:
        tiles = list(self._tiles.values())
        if len(tiles) == 1:
            return tiles[0]
        columns = math.ceil(math.sqrt(len(tiles)))
        rows = math.ceil(len(tiles) / columns)
        height, width = tiles[0].shape[:2]
        wall = np.zeros((rows * height, columns * width, 3), np.uint8)
        for at, tile in enumerate(tiles):
            top, left = at // columns * height, at % columns * width
            fitted = tile if tile.shape[:2] == (height, width) else letterboxed(tile, (width, height))
            wall[top : top + height, left : left + width] = fitted
        return wall

    def _paint(self, picture: U8) -> None:
        game = self._game
        assert game is not None, "the window is shown before it is painted"
        surface = game.display.get_surface()
        width, height = surface.get_size()
        scale = min(width / picture.shape[1], height / picture.shape[0])
        size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
        if size != (picture.shape[1], picture.shape[0]):
            picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        image = game.image.frombuffer(np.ascontiguousarray(picture), size, "RGB")
        if size != (width, height):
            surface.fill((0, 0, 0))  # beside a picture of another shape the one before would stay
        surface.blit(image, ((width - size[0]) // 2, (height - size[1]) // 2))
        game.display.flip()

    def _look_at_keys(self) -> None:
        game = self._game
        assert game is not None, "the window is shown before its keys are read"
        for event in game.event.get():
            if event.type == game.QUIT:
                raise SinkClosed("the window was closed")
            if event.type == game.KEYDOWN and event.key in (game.K_q, game.K_ESCAPE):
                self._on_quit()

    def idle(self) -> None:
        """Look at the keys: a camera that is away must not take q and Esc with it."""
        if self._game is not None:
            self._look_at_keys()

    def end(self, stats: StreamStats) -> None:
        """The last picture stays until the window closes."""

    def close(self) -> None:
        """Close the window."""
        if self._game is not None:
            self._game.display.quit()
            self._game = None
