"""Sizes, schedules and the choice of a device."""

import dataclasses
from types import SimpleNamespace

import pytest
import torch

from course_utils import device
from course_utils.config import ModelConfig, TrainConfig
from course_utils.errors import CourseError


def test_the_shipped_models_sizes_are_the_defaults():
    assert ModelConfig().to_dict() == {
        "n_layers": 2, "n_heads": 12, "d_model": 384, "d_head": 32, "d_vocab": 4096, "n_ctx": 256,
        "smeared_keys": False,
    }  # fmt: skip
    assert ModelConfig(**ModelConfig(n_layers=0).to_dict()) == ModelConfig(n_layers=0)


@pytest.mark.parametrize("config", [ModelConfig(), TrainConfig(steps=1)])
def test_a_configuration_cannot_be_changed(config):
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.d_vocab = 5


SIZES = [field.name for field in dataclasses.fields(ModelConfig) if field.name != "smeared_keys"]


@pytest.mark.parametrize("field", SIZES)
@pytest.mark.parametrize("value", [-1, 1.0, "12", None, True])
def test_sizes_that_make_no_model(field, value):
    with pytest.raises(CourseError) as caught:
        ModelConfig(**{field: value})
    message = str(caught.value)
    assert message.startswith(f"{field} is {value!r}: it must be an integer") and "Remedy:" in message


def test_only_layers_may_be_none():
    assert ModelConfig(n_layers=0).n_layers == 0
    for field in SIZES[1:]:
        with pytest.raises(CourseError, match=f"{field} is 0"):
            ModelConfig(**{field: 0})


@pytest.mark.parametrize("value", [1, "yes", None])
def test_keys_are_smeared_or_not(value):
    with pytest.raises(CourseError, match=f"smeared_keys is {value!r}"):
        ModelConfig(smeared_keys=value)


BAD_TRAINING = [
    ("steps", 0), ("steps", 1.5), ("steps", True), ("batch", 0), ("batch", "16"), ("warmup", -1), ("seed", -1),
    ("lr", -0.1), ("lr", None), ("lr", float("nan")), ("lr", float("inf")), ("lr_adam", float("nan")),
    ("cooldown", 1.1), ("cooldown", -0.1), ("text", "all"), ("text", None),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value"), BAD_TRAINING)
def test_settings_that_make_no_run(field, value):
    with pytest.raises(CourseError, match=f"{field} is .*Remedy:"):
        TrainConfig(**{"steps": 10, field: value})


def test_the_rate_warms_up_stays_and_falls_to_almost_nothing():
    cfg = TrainConfig(steps=1000, warmup=100, cooldown=0.4)
    rates = [cfg.rate(step) for step in range(1000)]
    assert rates[:100] == pytest.approx([(step + 1) / 100 for step in range(100)])
    assert rates[99:601] == [1.0] * 502
    assert rates[600:] == pytest.approx([(1000 - step) / 400 for step in range(600, 1000)])
    assert 0 < rates[-1] < 0.01


@pytest.mark.parametrize("edge", [{"warmup": 0}, {"cooldown": 0.0}, {"cooldown": 1.0}, {"steps": 1}, {"warmup": 10**6}])
def test_rates_at_the_edges_stay_above_zero_and_not_above_one(edge):
    cfg = TrainConfig(**{"steps": 20, "warmup": 5, **edge})
    assert all(0 < cfg.rate(step) <= 1 for step in range(cfg.steps))


# --- the device ---


def test_without_a_wish_and_a_gpu_it_is_the_cpu_and_says_why(monkeypatch):
    monkeypatch.delenv(device.VARIABLE, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    choice = device.choose_device()
    assert choice.device == torch.device("cpu") and "no CUDA GPU" in choice.reason
    assert device.pick_device() == torch.device("cpu")


def test_without_a_wish_a_gpu_is_used(monkeypatch):
    monkeypatch.delenv(device.VARIABLE, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Abacus 3000")
    choice = device.choose_device()
    assert choice.device == torch.device("cuda") and "Abacus 3000" in choice.reason


def test_apples_gpu_only_on_request(monkeypatch):
    monkeypatch.delenv(device.VARIABLE, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    choice = device.choose_device()
    assert choice.device.type == "cpu" and "COURSE_DEVICE=mps" in choice.reason
    assert device.choose_device("mps").device.type == "mps"


def test_the_variable_and_above_it_the_caller_decide(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv(device.VARIABLE, "cpu")
    choice = device.choose_device()
    assert choice.device == torch.device("cpu") and "COURSE_DEVICE" in choice.reason
    choice = device.choose_device("cuda:1")
    assert choice.device == torch.device("cuda:1") and "caller" in choice.reason
    with pytest.raises(CourseError, match="cuda:2"):
        device.choose_device("cuda:2")


@pytest.mark.parametrize("wish", ["cuda:9", "banana", "mps", "meta", "cuda:x", "cpu cuda", "-1"])
@pytest.mark.parametrize("by", ["caller", "variable"])
def test_a_device_that_is_not_there(monkeypatch, wish, by):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setenv(device.VARIABLE, wish if by == "variable" else "cpu")
    with pytest.raises(CourseError) as caught:
        device.choose_device(wish if by == "caller" else None)
    assert repr(wish) in str(caught.value) and "['cpu']" in str(caught.value) and "Remedy:" in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "capability", "dtype"),
    [("cpu", "AVX512", "bfloat16"), ("cpu", "AVX2", "float32"), ("cpu", "DEFAULT", "float32"),
     ("cuda:1", (7, 5), "float32"), ("cuda:1", (8, 0), "bfloat16"), ("mps", "DEFAULT", "float32")],
)  # fmt: skip
def test_products_have_the_type_that_is_fast_here(monkeypatch, kind, capability, dtype):
    """A T4 is of capability 7.5: it emulates bfloat16, and PyTorch's plain question says that it supports it."""
    current = [0]
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "_exchange_device", lambda index: current.append(index) or current[-2])
    monkeypatch.setattr(torch.cuda, "_maybe_exchange_device", lambda index: current.append(index) or current[-2])
    monkeypatch.setattr(torch.cuda, "current_device", lambda: current[-1])
    monkeypatch.setattr(torch.cuda, "_check_bf16_tensor_supported", lambda index: True)
    cards = {0: (9, 0), 1: capability}  # the other card is new: it must not be asked
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda i: SimpleNamespace(major=cards[i][0]))
    assert device.product_dtype(torch.device(kind)) == getattr(torch, dtype)
    assert current[-1] == 0


@pytest.mark.parametrize("capability", ["AVX512", "AVX2"])
def test_fast_products_are_of_that_type(monkeypatch, capability):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    with device.fast_products(torch.device("cpu")):
        product = torch.ones(4, 4) @ torch.ones(4, 4)
    assert product.dtype == device.product_dtype(torch.device("cpu"))
