"""TensorRT on an NVIDIA GPU: a plan built once for this machine, and sessions whose copies overlap their runs."""

from collections.abc import Callable, Mapping
from functools import partial

from headrace.engines.base import Engine, EngineInfo, Precision, Session
from headrace.engines.batches import Part, batch_axis, fed_batch, join, parts
from headrace.engines.cuda import Device, open_device
from headrace.engines.errors import EngineInputError
from headrace.engines.inputs import Array
from headrace.engines.ports import NEXT, match_ports
from headrace.engines.trt.build import Order
from headrace.engines.trt.cache import Kept, Site
from headrace.engines.trt.callbacks import LayerTimes, Told
from headrace.engines.trt.lane import Lane, Run
from headrace.engines.trt.library import require_supported, version
from headrace.engines.trt.onnx_file import OnnxFile
from headrace.engines.trt.options import BuildOptions
from headrace.engines.trt.plan import Plan, load
from headrace.engines.trt.supply import Here, supply
from headrace.models.spec import ModelSpec

_LANES = 2
"""One lane's copies overlap the other's run; more wait for the same GPU."""


class TensorRtEngine(Engine):
    """A network run by TensorRT. `notes` tells what went another way than usual, once each."""

    def __init__(
        self,
        spec: ModelSpec,
        *,
        precision: Precision | None = None,
        sessions: int | None = None,
        options: BuildOptions | None = None,
        build: bool = True,
        progress: Told | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        """Load a network's plan; build it where there is none for this machine, which takes minutes.

        Args:
            spec: the network.
            precision: None for what the file is in; the file decides, another file is another precision.
            sessions: how many lanes to open for the most frames per second. None: 2.
            options: how the plan is built.
            build: whether it may be built now.
            progress: hears of a build: the phase, how many of its steps are done, how many there are. It is called
                from threads of TensorRT's, and with "another process builds this plan; waiting", 0, 0.
            cancelled: asked while a build goes on, or is waited for; True ends it.

        Raises:
            MissingBackendError: TensorRT, pycuda or onnx is not installed, does not load, or is too old.
            DeviceError: no driver, no usable GPU, or not enough of its memory.
            NotBuiltError: `build` is False and there is no plan for this machine.
            PrecisionError: the file is in another precision.
            BuildError: the file is missing, broken or not supported, or does not fit its description.
            CancelledError: `cancelled` said so; nothing was written.
            CacheError: the plan cannot be kept.
        """
        self.notes: list[str] = []
        require_supported()
        options = options or BuildOptions()
        told = progress or (lambda phase, step, steps: None)
        order = Order(spec=spec, options=options, precision=precision, told=told, cancelled=cancelled)
        self._device = open_device()
        try:
            self._plan, self.card = supply(order, self._here(options), may_build=build)
            try:
                self._plan_opened(spec, sessions or _LANES)
            except BaseException:
                self._device.release(self._plan.close)
                raise
        except BaseException:
            self._device.close()
            raise

    @property
    def batches(self) -> tuple[int, ...]:
        """1, 2, 4 … up to the plan's longest; empty where the data decides the outputs' lengths: no padding then."""
        return self._plan.batches if self._cuttable else (fed_batch(self.inputs) or 1,)

    @property
    def axes(self) -> dict[str, int | None]:
        """Where the rows of each input and output lie; None where it has none, or where the batch is fixed."""
        found = {each.name: batch_axis(each) for each in self.inputs + self.state + self.outputs}
        found |= {NEXT + each.name: batch_axis(each) for each in self.state}
        return found if self._cuttable else dict.fromkeys(found)

    @property
    def open_sessions(self) -> int:
        """How many sessions are open."""
        return self._open_sessions

    @property
    def device(self) -> Device:
        """The GPU that it runs on."""
        return self._device

    @property
    def plan(self) -> Plan:
        """What TensorRT has loaded; for the device thread."""
        return self._plan

    def lane(self, times: LayerTimes | None = None) -> Lane:
        """A new lane, made on the device thread; close it there with `device.release`."""
        device = self._device
        made = partial(Lane, self._plan, self.spec.name, axes=self.axes, note=self._noted, times=times)
        return device.run(partial(made, recordable=lambda: not device.is_lent))

    @property
    def _cuttable(self) -> bool:
        """Whether batches may have any length, and so be cut into parts."""
        return any(None in each.shape for each in self.inputs)

    def _open_session(self) -> Session:
        return _TensorRtSession(self)

    def _release(self) -> None:
        try:
            self._device.release(self._plan.close)
        finally:
            self._device.close()

    def _here(self, options: BuildOptions) -> Here[Plan]:
        device = self._device
        return Here(
            site=Site.here(version(), device.name, device.capability),
            driver=device.driver_version,
            memory_bytes=device.total_bytes,
            lent=device.lent,
            load=partial(_loaded, device, options),
            note=self._noted,
        )

    def _plan_opened(self, spec: ModelSpec, sessions: int) -> None:
        tensors = self._plan.tensors
        ports = match_ports(
            spec,
            [each.found for each in tensors if each.is_input],
            [each.found for each in tensors if not each.is_input],
        )
        major, minor = self._device.capability
        info = EngineInfo(
            backend="tensorrt",
            version=version(),
            device=f"{self._device.name} ({major}.{minor})",
            precision=self.card.precision,
        )
        super().__init__(spec, ports, info, sessions)

    def _noted(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


class _TensorRtSession(Session):
    def __init__(self, engine: TensorRtEngine) -> None:
        super().__init__(engine)
        self._device = engine.device
        self._plan = engine.plan
        self._axes = engine.axes
        self._inputs = tuple(each.name for each in engine.inputs + engine.state)
        self._lane = engine.lane()

    def _run(self, feeds: Mapping[str, Array], wanted: tuple[str, ...]) -> dict[str, Array]:
        # The caller's mapping is read here: its code must not hold up the device thread.
        arrays = {name: feeds[name] for name in self._inputs}
        done = [
            self._device.start(Run(self._lane, arrays, part, wanted)).result()
            for part in self._parts(self._rows(arrays))
        ]
        return {name: join([each[name] for each in done], self._axes[name]) for name in wanted}

    def _rows(self, arrays: Mapping[str, Array]) -> int:
        batched = ((name, axis) for name in self._inputs if (axis := self._axes[name]) is not None)
        return next((arrays[name].shape[axis] for name, axis in batched), 1)

    def _parts(self, rows: int) -> list[Part]:
        if not self._plan.depends_on_data:
            return parts(rows, self._plan.batches)
        self._require_cuttable(rows)
        return [Part(0, rows, rows)]

    def _require_cuttable(self, rows: int) -> None:
        if rows > self._plan.most_rows:
            raise EngineInputError(
                f"{self._engine.spec.name}: got a batch of {rows}, allowed: up to {self._plan.most_rows}, because its "
                "outputs' lengths depend on the data"
            )

    def _release(self) -> None:
        self._device.release(self._lane.close)


def _loaded(device: Device, options: BuildOptions, kept: Kept, file: OnnxFile | None) -> Plan:
    weights = file.to_bytes() if options.strip and file is not None else None
    return load(device, kept.plan, host_code=options.version_compatible, weights=weights)


__all__ = ["BuildOptions", "TensorRtEngine"]
