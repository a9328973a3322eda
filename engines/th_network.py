"""A torch module made ready to run: on its device, with a half body and float ends, compiled where asked for."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock, RLock
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from headrace.engines.base import Precision
from headrace.engines.errors import PrecisionError

Device = Literal["cpu", "cuda"]

_DTYPES: dict[Precision, torch.dtype] = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}
"""Narrowest first: where layers differ, the network is as precise as its least precise ones."""
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_FLOAT_LAYERS = (nn.Linear, nn.RNNBase)
_HEAVY_OPERATORS = frozenset({"convolution", "addmm", "mm", "bmm", "baddbmm", "lstm", "gru"})
_process_settings = Lock()
setting_up = RLock()
"""Held while a network or a session first runs on a GPU: capturing a graph waits for the whole device, which fails
while another one is captured, and the search for the fastest algorithm frees memory."""


class Network:
    """Tensors on the device in, tensors on the device out; all sessions share it.

    In half precision the convolutions and what lies between them are half; what goes in, linear layers, the last
    convolution's result and what comes out are float32. Autocast would leave softmax and enlarged logits half on
    the CPU, and rounding would then decide between classes that lie near each other.
    """

    def __init__(self, module: nn.Module, precision: Precision, device: Device) -> None:
        """`module` is changed: from here on it is the network's."""
        # Channels last is what convolutions read without transposing, on tensor cores as on CPUs.
        self._module = module.eval().requires_grad_(False).to(device).to(memory_format=torch.channels_last)
        self._run: Callable[..., Any] = self._module
        self._half = None if precision == "fp32" else _DTYPES[precision]
        self.device = torch.device(device)

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Run; takes the module's arguments in order."""
        with torch.inference_mode(), _exact_float(self.device):
            results = self._run(*inputs)
        given = results if isinstance(results, tuple | list) else (results,)
        return tuple(each.float() if each.dtype == self._half else each for each in given)

    def settle(self, *inputs: Tensor) -> Precision:
        """Give the body its precision, by runs on these inputs.

        Returns:
            What convolutions and matrix products really run in.
        """
        if self._half is not None:
            _make_half(self._module, self._half, _last_heavy(self._module, lambda: self(*inputs)))
        seen = _Seen()
        with torch.no_grad(), seen:  # inference mode would hide convolutions inside their callers
            self._module(*inputs)
        if not seen.dtypes:
            return "fp32"
        for precision, dtype in _DTYPES.items():
            if dtype in seen.dtypes:
                return precision
        raise PrecisionError(f"torch runs layers in {', '.join(map(str, seen.dtypes))}, which has no name here")

    def compile(self, batches: list[list[Tensor]]) -> None:
        """Compile, by runs on batches of the lengths that need code of their own; any other then has its code."""
        compiled: Callable[..., Any] = torch.compile(self._module, dynamic=True)
        for inputs in batches:
            self._run = self._module
            if self._takes(inputs):
                self._run = compiled
                self(*inputs)
        self._run = compiled

    def _takes(self, inputs: list[Tensor]) -> bool:
        """Whether it runs on such a batch at all; where it does not, the caller's own batch will tell."""
        try:
            self(*inputs)
        except Exception:
            return False
        return True


class _Seen(TorchDispatchMode):
    """The dtypes that convolutions and matrix products are given."""

    def __init__(self) -> None:
        super().__init__()
        self.dtypes: set[torch.dtype] = set()

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if operator._schema.name.split("::")[1] in _HEAVY_OPERATORS:
            self.dtypes |= {each.dtype for each in args if isinstance(each, Tensor) and each.is_floating_point()}
        return operator(*args, **(kwargs or {}))


def _last_heavy(module: nn.Module, run: Callable[[], object]) -> nn.Module | None:
    """The convolution, linear or recurrent layer that runs last."""
    ran: list[nn.Module] = []
    heavy = [each for each in module.modules() if isinstance(each, (*_CONVOLUTIONS, *_FLOAT_LAYERS))]
    hooks = [each.register_forward_hook(lambda layer, _args, _result: ran.append(layer)) for each in heavy]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return ran[-1] if ran else None


def _make_half(module: nn.Module, half: torch.dtype, last: nn.Module | None) -> None:
    for layer in module.modules():
        ends = layer is last
        if isinstance(layer, _CONVOLUTIONS):
            layer.to(half)
            layer.register_forward_pre_hook(lambda _layer, args: (args[0].to(half), *args[1:]))
            if ends:
                layer.register_forward_hook(lambda _layer, _args, result: result.float())
        elif isinstance(layer, _FLOAT_LAYERS):
            layer.register_forward_pre_hook(lambda _layer, args: (args[0].float(), *args[1:]))


@contextmanager
def _exact_float(device: torch.device) -> Iterator[None]:
    """On a GPU: convolutions in float32 where they are float32, by the algorithm that is measured to be the fastest.

    Torch would round their inputs to TF32. Both settings are the process's, so one launch at a time has them.
    """
    if device.type == "cpu":
        yield
        return
    with _process_settings, torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False):
        yield
