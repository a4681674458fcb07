from __future__ import annotations

from pathlib import Path

import pytest

from byov_migrate.config import ModelConfig
from byov_migrate.embed.device import Hardware, Placement, choose_placement, read_cpu_flags, read_hardware
from byov_migrate.errors import ConfigurationError, PersonNeeded

PLAIN = Hardware()
MODERN_CPU = Hardware(cpu_flags=frozenset({"avx512_bf16"}))
AMPERE = Hardware(has_nvidia=True, cuda_devices=2, cuda_capability=(8, 0))
TURING = Hardware(has_nvidia=True, cuda_devices=1, cuda_capability=(7, 5))
PASCAL = Hardware(has_nvidia=True, cuda_devices=1, cuda_capability=(6, 1))
BROKEN = Hardware(has_nvidia=True, cuda_fault="the driver is too old")
APPLE = Hardware(has_mps=True)


def _placed(hardware: Hardware, device: str = "auto") -> Placement:
    return choose_placement(ModelConfig(path=Path("model"), device=device), hardware)


@pytest.mark.parametrize(
    ("hardware", "expected"),
    [
        (PLAIN, Placement("cpu", "float32", 2048)),
        (MODERN_CPU, Placement("cpu", "bfloat16", 2048)),
        (AMPERE, Placement("cuda", "bfloat16", 32768, workers=2)),
        (TURING, Placement("cuda", "float16", 32768)),  # bfloat16 is emulated there, and slow
        (PASCAL, Placement("cuda", "float32", 32768)),  # half precision runs at 1/64 of the speed
        (APPLE, Placement("mps", "float32", 32768)),
    ],
)
def test_device_and_number_format_follow_the_hardware(hardware: Hardware, expected: Placement) -> None:
    """The fastest format that the device computes natively."""
    assert expected == _placed(hardware)


def test_every_gpu_gets_a_worker_unless_one_was_named() -> None:
    """Two GPUs of which one idles take twice as long."""
    both = [Placement(f"cuda:{number}", "bfloat16", 32768) for number in (0, 1)]
    assert _placed(AMPERE).split() == both
    assert _placed(AMPERE, "cuda:1").split() == both[1:]
    assert _placed(PLAIN).split() == [Placement("cpu", "float32", 2048)]


@pytest.mark.parametrize("device", ["auto", "cuda", "cuda:0"])
def test_a_gpu_that_cannot_be_used_is_an_error_and_no_silent_cpu(device: str) -> None:
    """A run of days instead of hours must not begin because of a driver."""
    with pytest.raises(PersonNeeded, match="the driver is too old") as caught:
        _placed(BROKEN, device)
    assert 'device = "cpu"' in str(caught.value.next_step)


def test_the_cpu_can_be_chosen_beside_an_unusable_gpu() -> None:
    """The fix that the error names works."""
    assert _placed(BROKEN, "cpu").device == "cpu"


def test_a_device_number_beyond_the_last_is_refused() -> None:
    """The library would fail later, with a message about ordinals."""
    assert _placed(AMPERE, "cuda:1").device == "cuda:1"
    with pytest.raises(ConfigurationError, match="2 NVIDIA devices"):
        _placed(AMPERE, "cuda:2")


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "cpu:0", ""])
def test_an_unknown_device_is_named(device: str) -> None:
    """A misspelt device must not mean the CPU."""
    with pytest.raises(ConfigurationError, match="is no device"):
        _placed(AMPERE, device)


def test_settings_win_over_what_the_hardware_suggests() -> None:
    """An operator may want float32 for comparison or smaller batches beside another program."""
    config = ModelConfig(path=Path("model"), dtype="float32", batch_tokens=512)
    assert choose_placement(config, AMPERE) == Placement("cuda", "float32", 512, workers=2)


def test_a_gpu_hidden_on_purpose_is_not_there() -> None:
    """An empty CUDA_VISIBLE_DEVICES is how a person says: not on the GPU."""
    assert not read_hardware("auto", {"CUDA_VISIBLE_DEVICES": ""}).has_nvidia


def test_cpu_flags_are_read_from_the_first_processor(tmp_path: Path) -> None:
    """The choice of bfloat16 rests on them."""
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nflags\t\t: fpu amx_bf16 avx2\n\nprocessor\t: 1\nflags\t\t: none\n")
    assert read_cpu_flags(cpuinfo) == {"fpu", "amx_bf16", "avx2"}
    assert read_cpu_flags(tmp_path / "absent") == frozenset()
