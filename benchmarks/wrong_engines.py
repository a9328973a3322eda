"""Lets `headrace prove` judge two engines that are wrong on purpose, beside the real ones: one off, one slow.

    python benchmarks/wrong_engines.py [MODEL]

`perturbed` runs the network with weights that are off by a twentieth of their spread; `slowed` runs each frame twice.
Neither may be taken. The verdicts go into a cache folder of the run's own.
"""

import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import made_engines

from headrace.engines.catalog import BACKENDS
from headrace.engines.store import ROOT_VARIABLE
from headrace.tools import cli


def main() -> int:
    """Prove, and print what `headrace prove` prints."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ[ROOT_VARIABLE] = folder
        BACKENDS["perturbed"] = made_engines.perturbed(Path(folder), 0.05)
        BACKENDS["slowed"] = made_engines.slowed(2)
        return cli.main(["prove", *(sys.argv[1:] or ["street"])])


if __name__ == "__main__":
    raise SystemExit(main())
