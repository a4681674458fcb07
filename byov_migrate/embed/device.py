"""Where the model runs and in which number format. A GPU that is there but cannot be used is an error with its fix."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from byov_migrate.config import ModelConfig
from byov_migrate.errors import ConfigurationError, PersonNeeded

# Measured: beyond the cache a CPU gets slower with larger batches (6,705 tokens/s at 2,048, 5,946 at 4,096).
CPU_BATCH_TOKENS = 2048
GPU_BATCH_TOKENS = 32768
BFLOAT16_CPU_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})
NVIDIA_SMI_TIMEOUT_S = 10
_USE_CPU = 'set device = "cpu" for this model to run without it'


@dataclass(frozen=True)
class Hardware:
    """What the machine has, as far as the setting asks for it."""

    has_nvidia: bool = False
    cuda_devices: int = 0
    cuda_capability: tuple[int, int] = (0, 0)
    cuda_fault: str = ""  # why torch cannot use the NVIDIA device
    has_mps: bool = False
    cpu_flags: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Placement:
    """device as torch names it; dtype: float32, bfloat16 or float16; batch_tokens: padded tokens of a batch.

    workers: devices of that kind to be used, each by a thread of its own.
    """

    device: str
    dtype: str
    batch_tokens: int
    workers: int = 1

    def split(self) -> list[Placement]:
        """One placement a device."""
        if self.workers == 1:
            return [self]
        return [replace(self, device=f"{self.device}:{number}", workers=1) for number in range(self.workers)]


def choose_placement(config: ModelConfig, hardware: Hardware) -> Placement:
    """Raise PersonNeeded for a GPU that is there but unusable, ConfigurationError for a device that is not there."""
    device = _choose_device(config.device, hardware)
    dtype = config.dtype if config.dtype != "auto" else _choose_dtype(device, hardware)
    batch_tokens = config.batch_tokens or (CPU_BATCH_TOKENS if device == "cpu" else GPU_BATCH_TOKENS)
    workers = hardware.cuda_devices if device == "cuda" else 1
    return Placement(device, dtype, batch_tokens, workers)


def _choose_device(setting: str, hardware: Hardware) -> str:
    if setting == "auto":
        return _automatic(hardware)
    match = re.fullmatch(r"cpu|mps|cuda(?::(\d+))?", setting)
    if match is None:
        raise ConfigurationError(
            f'device = "{setting}" is no device', next_step='use "auto", "cpu", "cuda", "cuda:N" or "mps"'
        )
    if setting.startswith("cuda") and hardware.cuda_devices <= int(match[1] or 0):
        raise _unusable(setting, hardware)
    if setting == "mps" and not hardware.has_mps:
        raise ConfigurationError('device = "mps", but torch finds no Apple GPU', next_step=_USE_CPU)
    return setting


def _automatic(hardware: Hardware) -> str:
    if hardware.cuda_devices:
        return "cuda"
    if hardware.has_nvidia:
        raise _unusable("auto", hardware)
    return "mps" if hardware.has_mps else "cpu"


def _unusable(setting: str, hardware: Hardware) -> ConfigurationError | PersonNeeded:
    if not hardware.has_nvidia or hardware.cuda_devices:
        return ConfigurationError(
            f'device = "{setting}", but {hardware.cuda_devices} NVIDIA devices are visible', next_step=_USE_CPU
        )
    return PersonNeeded(
        f"there is an NVIDIA device, but torch cannot use it: {hardware.cuda_fault or 'no reason given'}",
        next_step=f"install a torch that fits the driver (nvidia-smi shows its CUDA version), or {_USE_CPU}",
    )


def _choose_dtype(device: str, hardware: Hardware) -> str:
    if device == "cpu":
        return "bfloat16" if hardware.cpu_flags & BFLOAT16_CPU_FLAGS else "float32"
    if device.startswith("cuda"):
        if hardware.cuda_capability >= (8, 0):
            return "bfloat16"
        return "float16" if hardware.cuda_capability >= (7, 0) else "float32"
    return "float32"


def read_hardware(setting: str, environment: Mapping[str, str] = os.environ) -> Hardware:
    """Look at this machine. torch is imported only where there may be a GPU and the setting does not exclude it."""
    cpu_flags = read_cpu_flags(Path("/proc/cpuinfo"))
    if setting == "cpu":
        return Hardware(cpu_flags=cpu_flags)
    has_nvidia = _has_nvidia(environment)
    if not has_nvidia and sys.platform != "darwin" and not setting.startswith(("cuda", "mps")):
        return Hardware(cpu_flags=cpu_flags)
    import torch

    usable = torch.cuda.is_available()
    return Hardware(
        has_nvidia=has_nvidia,
        cuda_devices=torch.cuda.device_count() if usable else 0,
        cuda_capability=torch.cuda.get_device_capability(_index(setting)) if usable else (0, 0),
        cuda_fault=_cuda_fault() if has_nvidia and not usable else "",
        has_mps=torch.backends.mps.is_available(),
        cpu_flags=cpu_flags,
    )


def _index(setting: str) -> int:
    import torch

    number = int(setting.partition(":")[2] or 0)
    return number if number < torch.cuda.device_count() else 0


def read_cpu_flags(path: Path) -> frozenset[str]:
    """Flags of the first processor in a /proc/cpuinfo; empty where there is none."""
    try:
        with path.open(encoding="utf-8", errors="replace") as stream:
            line = next((line for line in stream if line.startswith(("flags", "Features"))), "")
    except OSError:
        return frozenset()
    return frozenset(line.partition(":")[2].split())


def _has_nvidia(environment: Mapping[str, str]) -> bool:
    """Whether an NVIDIA device is there and not hidden on purpose by CUDA_VISIBLE_DEVICES."""
    if environment.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1", "NoDevFiles"):
        return False
    if any(re.fullmatch(r"nvidia\d+", entry.name) for entry in Path("/dev").glob("nvidia*")):
        return True
    try:
        listed = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, timeout=NVIDIA_SMI_TIMEOUT_S, check=True, text=True
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return listed.stdout.startswith("GPU ")


def _cuda_fault() -> str:
    import torch

    if torch.version.cuda is None:
        return f"torch {torch.__version__} was built without CUDA"
    initialize: Callable[[], None] = torch.cuda.init
    try:
        initialize()
    except (RuntimeError, AssertionError) as error:
        return str(error).splitlines()[0]
    return f"torch {torch.__version__} for CUDA {torch.version.cuda} finds no device"


def prove_device(placement: Placement) -> None:
    """Multiply two small matrices there. Raise PersonNeeded when the device is listed but cannot compute."""
    import torch

    try:
        ones = torch.ones(8, 8, device=placement.device, dtype=getattr(torch, placement.dtype))
        (ones @ ones).sum().item()
    except RuntimeError as error:
        raise PersonNeeded(
            f"{placement.device} cannot compute in {placement.dtype}: {str(error).splitlines()[0]}",
            next_step=f"see whether another program holds the device, install a torch that supports it, or {_USE_CPU}",
        ) from error
