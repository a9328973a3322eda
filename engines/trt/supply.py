"""A network's plan for this machine: from the cache where one fits, else built and kept, once for all processes."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Generic, TypeVar

from headrace.engines.errors import BuildError, CacheError, NotBuiltError
from headrace.engines.network import called
from headrace.engines.store import locked, put
from headrace.engines.trt import cache
from headrace.engines.trt.build import Built, Order, build
from headrace.engines.trt.cache import Card, DamagedPlanError, Kept, Site
from headrace.engines.trt.library import trt
from headrace.engines.trt.onnx_file import OnnxFile
from headrace.engines.trt.options import BuildOptions
from headrace.engines.trt.plan import PlanRefusedError

WAITING = "another process builds this plan; waiting"
Loaded = TypeVar("Loaded")


@dataclass(frozen=True, slots=True, kw_only=True)
class Here(Generic[Loaded]):
    """This machine, as a supply needs it."""

    site: Site
    driver: int
    memory_bytes: int
    lent: Callable[[], AbstractContextManager[None]]
    """The GPU's context on this thread, for a build."""
    load: Callable[[Kept, OnnxFile | None], Loaded]
    """Makes of a plan what runs; raises `PlanRefusedError` where TensorRT does not take it."""
    note: Callable[[str], None]
    """Hears what is worth knowing and stops nothing."""


def supply(order: Order, here: Here[Loaded], *, may_build: bool) -> tuple[Loaded, Card]:
    """The loaded plan and its card.

    A plan that is damaged, or that TensorRT refuses, is built again.

    Raises:
        NotBuiltError: there is none that fits, and `may_build` is False.
        BuildError: the network's file is gone and no plan of it fits here, or it cannot be built.
        CancelledError, CacheError, DeviceError: see `build` and `cache`.
    """
    if not order.spec.weights.file.is_file():
        return _without_file(order, here)
    file = OnnxFile(order.spec.weights.file)
    key = cache.key(file.digest, here.site, order.options, order.spec)
    found, refused = _from_cache(order, here, file, key)
    if found is not None:
        return found
    order.require_precision(file.precision)
    if not may_build:
        why = f"its plan is refused ({refused})" if refused else "no plan for it is built here yet"
        raise NotBuiltError(f"{order.file}: {why}; here: {here.site}; run: headrace build {called(order.spec)}")
    with locked(cache.path(key), waiting=lambda: order.told(WAITING, 0, 0), cancelled=order.cancelled):
        found, refused = _from_cache(order, here, file, key)  # whoever held the lock may have built it
        if found is not None:
            return found
        if refused:
            here.note(f"the kept plan of {order.spec.name} is refused and built again: {refused}")
        kept = _built(order, here, file, key)
    try:
        return here.load(kept, file), kept.card
    except PlanRefusedError as error:
        raise BuildError(f"{order.file}: TensorRT refuses the plan that it has just built: {error}") from error


def _from_cache(order: Order, here: Here[Loaded], file: OnnxFile, key: str) -> tuple[tuple[Loaded, Card] | None, str]:
    """What is kept under that key; None, and why it is refused, where there is none that runs."""
    try:
        kept = cache.read(key)
        if kept is None:
            return None, ""
        order.require_precision(kept.card.precision)
        return (here.load(kept, file), kept.card), ""
    except (DamagedPlanError, PlanRefusedError) as error:
        return None, str(error)


def _built(order: Order, here: Here[Loaded], file: OnnxFile, key: str) -> Kept:
    file.require_supported(data_dependent=_depends_on_data(order))
    onnx = file.to_bytes()
    cache.tidy(key)
    cache.require_room(len(onnx))
    timings = cache.timings(here.site)
    with here.lent():
        built = build(order, onnx, _kept_times(timings))
    kept = Kept(plan=built.plan, card=_card(order, here, file, key, built))
    cache.keep(kept.plan, kept.card)
    try:
        put(timings, built.timings)
    except CacheError as error:
        here.note(f"the times of kernels are not kept, so the next build takes longer: {error}")
    for gone in cache.evict(kept.card):
        here.note(f"removed an older plan of {gone.network}, built for {gone.site}")
    return kept


def _kept_times(timings: Path) -> bytes:
    """Empty where there are none, or none that can be read: the build takes longer, and is as right."""
    try:
        return timings.read_bytes()
    except OSError:
        return b""


def _card(order: Order, here: Here[Loaded], file: OnnxFile, key: str, built: Built) -> Card:
    return Card(
        key=key,
        network=order.spec.name,
        file=cache.named(file.path),
        onnx=file.digest,
        site=here.site,
        options=order.options.by_name(),
        precision=file.precision,
        layers=built.layers,
        plan_bytes=len(built.plan),
        plan_digest=sha256(built.plan).hexdigest(),
        build_s=round(built.seconds, 3),
        made_at=datetime.now(UTC).isoformat(),
        driver=here.driver,
        memory_bytes=here.memory_bytes,
        parser=int(trt.get_nv_onnx_parser_version()),
    )


def _without_file(order: Order, here: Here[Loaded]) -> tuple[Loaded, Card]:
    """The file is gone: a plan of it that was built here before still runs; else both sides are named."""
    found = cache.cards(order.spec.weights.file)
    if not found:
        raise BuildError(f"{order.file}: no such file")
    refusals = []
    for card in found:
        order.require_precision(card.precision)
        refusal = _misfit(card, order, here.site)
        if not refusal:
            try:
                kept = cache.read(card.key)
                if kept is not None:
                    return here.load(kept, None), card
            except (DamagedPlanError, PlanRefusedError) as error:
                refusal = str(error)
        refusals.append(f"{card.site}{refusal and ': '}{refusal}")
    raise BuildError(
        f"{order.file}: no such file, and no plan that was built from it runs here (here: {here.site}; "
        f"found: {'; '.join(refusals)}): put the file back, and it is built anew"
    )


def _misfit(card: Card, order: Order, site: Site) -> str:
    """Why a plan is not even tried; empty where it is."""
    if card.options != order.options.by_name():
        return "built with other options"
    if any(getattr(card.site, each) != getattr(site, each) for each in _bound(order.options)):
        return "built elsewhere"
    return "built without its weights (strip)" if order.options.strip else ""


def _bound(options: BuildOptions) -> set[str]:
    """What of its site a plan is bound to: options may loosen it, and then TensorRT decides."""
    loose = {"gpu"} if options.hardware != "none" else set()
    if options.hardware == "ampere_plus":
        loose.add("capability")
    if options.version_compatible:
        loose.add("tensorrt")
    return {each.name for each in fields(Site)} - loose


def _depends_on_data(order: Order) -> bool:
    """Whether the description leaves a length of an output free that is not its batch."""
    free = [(each, at) for each in order.spec.outputs for at, length in enumerate(each.shape) if length is None]
    return any(each.layout[at] != "B" for each, at in free)
