"""The synthetic scene: a drawn street or room that comes with the exact truth about every pixel."""

from headrace.stream.scene.world import ACTIONS, CLASS_NAMES, VOID, Kind, Label, View, World, check_options

__all__ = ["ACTIONS", "CLASS_NAMES", "VOID", "Kind", "Label", "View", "World", "check_options"]
