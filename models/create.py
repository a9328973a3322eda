"""A network as a torch module in the form that is deployed, with the weights that its ONNX file holds."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.models import catalog
from headrace.models.errors import BadWeightsError, MissingLibraryError, UnknownModelError
from headrace.models.spec import ModelSpec

if TYPE_CHECKING:
    from torch import Tensor, nn

NETWORKS = {
    "street": "headrace.models.segment.street:deployed",
    "two_stream": "headrace.models.action.two_stream:deployed",
}
"""Network → the function that makes it of its description: inputs and outputs are the description's."""


def create(model: str | ModelSpec, weights: bool = True) -> nn.Module:
    """A network of `NETWORKS` as a torch module; it takes and gives what its description says, in that order.

    Args:
        model: its name, or its description, whose file then gives the weights.
        weights: read them from the ONNX file; batch norms are then folded into the convolutions before them, as they
            are in the file. False: as for training, at random.

    Returns:
        In evaluation mode, on the CPU.

    Raises:
        UnknownModelError: there is no definition of that name; the message lists what there is.
        BadWeightsError: the file's weights are not the network's: what is missing, too much or of another shape is
            named.
        MissingLibraryError: torch or onnx is not installed; the message has the line that installs it.
    """
    spec = catalog.spec(model) if isinstance(model, str) else model
    if spec.name not in NETWORKS:
        known = ", ".join(NETWORKS)
        raise UnknownModelError(f"no torch definition of network {spec.name!r}; there are: {known}")
    module, factory = NETWORKS[spec.name].split(":")
    try:
        network: nn.Module = getattr(import_module(module), factory)(spec).eval()
    except ImportError as error:
        raise MissingLibraryError(
            f"networks are defined in torch, which does not load ({error}); install it with: pip install"
            ' "headrace[models]"'
        ) from error
    if weights:
        fold_batch_norms(network)
        _load(network, spec.weights.file)
    return network


def fold_batch_norms(network: nn.Module) -> None:
    """Put each batch norm that follows a convolution in a sequence into its weights; answers stay the same."""
    from torch import nn
    from torch.nn.utils import fuse_conv_bn_eval

    for sequence in [each for each in network.modules() if isinstance(each, nn.Sequential)]:
        for at in range(len(sequence) - 1):
            if isinstance(sequence[at], nn.Conv2d) and isinstance(sequence[at + 1], nn.BatchNorm2d):
                sequence[at] = fuse_conv_bn_eval(sequence[at], sequence[at + 1])
                sequence[at + 1] = nn.Identity()


def _load(network: nn.Module, file: Path) -> None:
    wanted = {name: each for name, each in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    found = _weights_of(file)
    misshapen = [
        f"{name} is {tuple(found[name].shape)}, not {tuple(each.shape)}"
        for name, each in wanted.items()
        if name in found and found[name].shape != each.shape
    ]
    problems = {
        "missing": sorted(wanted.keys() - found.keys()),
        "not of this network": sorted(found.keys() - wanted.keys()),
        "of another shape": misshapen,
    }
    if any(problems.values()):
        listed = "; ".join(f"{what}: {', '.join(names)}" for what, names in problems.items() if names)
        raise BadWeightsError(f"{file}: its weights do not fit {type(network).__name__}: {listed}")
    network.load_state_dict(found, strict=False)  # only the counters of batch norms are not in the file


def _weights_of(file: Path) -> dict[str, Tensor]:
    """By parameter: the exporter keeps their names, which have a dot; constants of its own have none."""
    import torch
    from onnx import numpy_helper

    from headrace.models.graph import read

    return {
        _parameter(each.name): torch.from_numpy(numpy_helper.to_array(each).copy()).float()
        for each in read.load(file).graph.initializer
        if "." in each.name
    }


def _parameter(name: str) -> str:
    """A folded batch norm gives the convolution X a bias, which the exporter calls `X.weight_bias`."""
    return name.removesuffix(".weight_bias") + ".bias" if name.endswith(".weight_bias") else name
