"""Plans that were built, by all that they depend on, each with a card that says what it is; damaged ones are told.

A plan is `plans/KEY.plan`, and its card `plans/KEY.json` is written after it: a plan without one is not there. A newer
build removes the plans that it replaces (`evict` says which), and what an ended process left of the same plan.
"""

import json
import platform
import re
import shutil
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

from headrace.engines.base import Precision
from headrace.engines.errors import CacheError
from headrace.engines.store import cache_root, put
from headrace.engines.trt.options import BuildOptions
from headrace.models.spec import ModelSpec

_FORMAT = 1
"""Raised when keys or cards change: what was built before is not found any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where a plan runs: TensorRT binds it to all of these."""

    tensorrt: str
    gpu: str
    capability: str
    """Compute capability: "9.0"."""
    system: str
    machine: str

    @classmethod
    def here(cls, tensorrt: str, gpu: str, capability: tuple[int, int]) -> Self:
        """This machine, with the library and GPU that were found."""
        major, minor = capability
        return cls(
            tensorrt=tensorrt,
            gpu=gpu,
            capability=f"{major}.{minor}",
            system=sys.platform,
            machine=platform.machine(),
        )

    def __str__(self) -> str:
        return f"TensorRT {self.tensorrt} on {self.gpu} ({self.capability}), {self.system} {self.machine}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What a plan is, as the file beside it says."""

    key: str
    network: str
    file: str
    """The ONNX file that it was built from."""
    onnx: str
    """Digest of that file."""
    site: Site
    """Where it was built, and runs."""
    options: dict[str, Any]
    precision: Precision
    layers: int
    plan_bytes: int
    plan_digest: str
    build_s: float
    made_at: str
    driver: int
    """The newest CUDA that the driver served: 13000 for 13.0. Told only: plans are not bound to it."""
    memory_bytes: int
    """Of the GPU."""
    parser: int
    """TensorRT's ONNX parser."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A plan and its card."""

    plan: bytes
    card: Card


class DamagedPlanError(Exception):
    """A plan or its card is not as it was written; the text says how."""


def key(onnx: str, site: Site, options: BuildOptions, spec: ModelSpec) -> str:
    """The name of a plan: a digest of all that it depends on.

    Options stand in it by name, as TensorRT's numbers for them differ between its versions, and the lengths that the
    description fixes stand in it because the plan's profiles are made from them.
    """
    fields = {
        "format": _FORMAT,
        "onnx": onnx,
        **asdict(site),
        "options": options.by_name(),
        "inputs": {each.name: each.shape for each in spec.inputs},
    }
    return sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:32]


def path(key: str) -> Path:
    """Where the plan of that key is kept."""
    return _folder() / f"{key}.plan"


def read(key: str) -> Kept | None:
    """A plan as it was kept; None where there is none.

    Raises:
        DamagedPlanError: it is not as it was written.
        CacheError: it cannot be read.
    """
    if not (path(key).is_file() and _card_path(key).is_file()):
        return None
    card = _card(_card_path(key))
    try:
        plan = path(key).read_bytes()
    except FileNotFoundError:  # another process has just removed it
        return None
    except OSError as error:
        raise CacheError(f"cannot read {path(key)}: {error.strerror or error}") from error
    if len(plan) != card.plan_bytes:
        raise DamagedPlanError(f"{path(key)} has {len(plan)} bytes, and {card.plan_bytes} were written")
    if sha256(plan).hexdigest() != card.plan_digest:
        raise DamagedPlanError(f"{path(key)} is not what was written: its digest differs")
    return Kept(plan=plan, card=card)


def keep(plan: bytes, card: Card) -> None:
    """Write a plan, then its card: whenever the process ends, there is a whole plan or none.

    An old card beside a new plan is told by the digest.

    Raises:
        CacheError: the disk is full or the folder cannot be written; nothing of it is left.
    """
    put(path(card.key), plan)
    try:
        put(_card_path(card.key), json.dumps(asdict(card), indent=1).encode())
    except CacheError:
        path(card.key).unlink(missing_ok=True)
        raise


def cards(file: Path) -> list[Card]:
    """The cards of all plans that were built from that ONNX file, newest first."""
    found = []
    for each in sorted(_folder().glob("*.json")):
        with suppress(DamagedPlanError):
            card = _card(each)
            if card.file == named(file) and path(card.key).is_file():
                found.append(card)
    return sorted(found, key=lambda card: card.made_at, reverse=True)


def evict(card: Card) -> list[Card]:
    """Remove the plans that `card`'s replaces, and say which.

    These are plans from the same file, for the same GPU and system, with the same options, that were built by an
    older TensorRT, or from the file as it was before it changed. Plans of newer versions, of other GPUs and with other
    options stay: whoever built them can still use them.
    """
    replaced = [each for each in cards(Path(card.file)) if _is_replaced(each, card)]
    for each in replaced:
        _card_path(each.key).unlink(missing_ok=True)
        path(each.key).unlink(missing_ok=True)
    return replaced


def tidy(key: str) -> None:
    """Remove what a process that was ended while it wrote has left of this key; call it under the key's lock."""
    for draft in _folder().glob(f".{key}.*.draft"):
        draft.unlink(missing_ok=True)


def require_room(nbytes: int) -> None:
    """Refuse a build whose plan the disk cannot hold, before minutes are spent on it.

    Raises:
        CacheError: says how much is needed and how much is free.
    """
    folder = _folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise CacheError(f"cannot write {folder}: {error.strerror or error}") from error
    if free < nbytes:
        raise CacheError(
            f"cannot keep a plan in {folder}: the disk is full (about {nbytes / 1e6:.1f} MB needed, "
            f"{free / 1e6:.1f} MB free); make room, or set HEADRACE_CACHE to a folder on another disk"
        )


def timings(site: Site) -> Path:
    """Where TensorRT's times of kernels are kept: one file for each of its versions and each kind of GPU."""
    gpu = re.sub(r"[^\w.-]+", "-", site.gpu)
    return _folder() / f"timing-{site.tensorrt}-{gpu}.cache"


def named(file: Path) -> str:
    """A network's file as cards name it."""
    return str(file.absolute())


def _is_replaced(old: Card, new: Card) -> bool:
    place = ("gpu", "capability", "system", "machine")
    alike = old.options == new.options and all(getattr(old.site, each) == getattr(new.site, each) for each in place)
    older = _numbers(old.site.tensorrt) < _numbers(new.site.tensorrt)
    return old.key != new.key and alike and (older or old.onnx != new.onnx)


def _card(path: Path) -> Card:
    try:
        fields = json.loads(path.read_bytes())
        return Card(**{**fields, "site": Site(**fields["site"])})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedPlanError(f"{path} is damaged: {error}") from error


def _numbers(version: str) -> list[int]:
    return [int(each) for each in re.findall(r"\d+", version)]


def _folder() -> Path:
    return cache_root() / "plans"


def _card_path(key: str) -> Path:
    return _folder() / f"{key}.json"
