"""A serialized engine of the double: what it is bound to, then the network that it runs."""

import hashlib
import json
import struct
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from tensorrt.machine import machine

_MAGIC = b"ptrt"
Profile = dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]


class RefusedError(Exception):
    """The plan does not fit this machine, or is no plan; the text is what the library logs."""


@dataclass(slots=True, kw_only=True)
class Plan:
    """What a build leaves."""

    network: bytes
    """The ONNX file, without its weights where the plan is stripped."""
    name: str = ""
    layers: int = 0
    profiles: list[Profile] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)
    hardware: str = "NONE"
    verbosity: str = "LAYER_NAMES_ONLY"
    aux_streams: int = 0
    version: str = field(default_factory=lambda: machine.version)
    capability: str = field(default_factory=lambda: machine.capability)
    gpu: str = field(default_factory=lambda: machine.gpu)
    platform: str = field(default_factory=lambda: machine.platform)

    def to_bytes(self) -> bytes:
        told = asdict(self)
        network = told.pop("network")
        told["sum"] = hashlib.sha256(network).hexdigest()
        head = json.dumps(told).encode()
        return _MAGIC + struct.pack("<II", len(head), len(network)) + head + network

    @classmethod
    def read(cls, data: bytes, *, host_code_allowed: bool) -> Self:
        """The plan in those bytes.

        Raises:
            RefusedError: damaged, or made by another version, for another device or platform.
        """
        told, network = _parts(data)
        told["profiles"] = [
            {name: tuple(tuple(shape) for shape in three) for name, three in each.items()}
            for each in told["profiles"]
        ]
        plan = cls(network=network, **told)
        plan._require_fit(host_code_allowed)
        return plan

    def _require_fit(self, host_code_allowed: bool) -> None:
        if self.platform != machine.platform:
            raise RefusedError(
                "Error Code 1: Serialization (Serialization assertion platformTag == getPlatformTag() failed."
                "Platform specific tag mismatch detected. TensorRT plan files are only supported on the target "
                "runtime platform they were created on.)"
            )
        portable = "VERSION_COMPATIBLE" in self.flags
        if self.version != machine.version and not (portable and _numbers(machine.version) > _numbers(self.version)):
            raise RefusedError(
                "Error Code 1: Serialization (Serialization assertion stdVersionRead == kSERIALIZATION_VERSION "
                "failed. The engine plan file is not compatible with this version of TensorRT, "
                f"expecting library version {machine.version} got {self.version}, please rebuild.)"
            )
        if portable and not host_code_allowed:
            raise RefusedError("Error Code 4: API Usage Error (engine_host_code_allowed is not set)")
        if not self._runs_on(machine.capability):
            raise RefusedError(
                "Error Code 6: API Usage Error (The engine plan file is generated on an incompatible device, "
                f"expecting compute {machine.capability} got compute {self.capability}, please rebuild.)"
            )

    def _runs_on(self, capability: str) -> bool:
        if self.hardware == "AMPERE_PLUS":
            return _numbers(capability) >= [8, 0]
        return self.capability == capability


def _parts(data: bytes) -> tuple[dict[str, Any], bytes]:
    start = len(_MAGIC) + 8
    if data[: len(_MAGIC)] != _MAGIC or len(data) < start:
        raise RefusedError("Error Code 1: Serialization (Serialization assertion magicTagRead == kMAGIC_TAG failed.)")
    head_length, network_length = struct.unpack("<II", data[len(_MAGIC) : start])
    network = data[start + head_length :]
    try:
        told = json.loads(data[start : start + head_length])
    except ValueError:
        told = {}
    if len(network) != network_length or told.pop("sum", None) != hashlib.sha256(network).hexdigest():
        raise RefusedError(
            "Error Code 1: Serialization (Serialization assertion sizeRead == "
            "static_cast<uint64_t>(mEngineSize) failed.)"
        )
    return told, network


def _numbers(version: str) -> list[int]:
    return [int(number) for number in version.split(".")]
