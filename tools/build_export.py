"""A network's torch definition as an ONNX file, proved on the way against torch on real frames."""

from pathlib import Path

import numpy as np

from headrace.models.errors import MissingLibraryError
from headrace.models.spec import ModelSpec
from headrace.stream.footage import feeds

_EXAMPLES = 3
"""Of each input: the exporter takes no free batch from fewer."""


def export(spec: ModelSpec, path: Path) -> str:
    """Write the file; returns what was found, in words.

    Raises:
        UnknownModelError: the network has no torch definition.
        MissingLibraryError: torch is not installed; the message has the line.
        ExportError: the file does not do what torch does, or no engine could be built from it; nothing is written.
    """
    from headrace.models.create import create

    network = create(spec)
    try:
        from headrace.models.export import export_onnx
    except ImportError as error:
        raise MissingLibraryError(
            f'exporting needs a library that does not load ({error}): pip install "headrace[models]"'
        ) from error
    examples = feeds(spec, None, _EXAMPLES)
    fed = {each.name: np.concatenate([example[each.name] for example in examples]) for each in spec.inputs}
    found = export_onnx(network, path, feeds=fed, outputs=[each.name for each in spec.outputs])
    if spec.task == "segment":
        return f"agrees with torch on {found.share:.4f} of the pixels"
    return f"scores at most {found.error:.2g} off torch's"
