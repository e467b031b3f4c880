"""What a training step asks of a GPU, counted on the CPU: its calls, and that the host never waits for an answer.

What a GPU gains by fewer calls, or would by `torch.compile` or CUDA graphs, only a GPU can tell.
"""

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from course_utils import device, training
from course_utils.config import ModelConfig, TrainConfig
from course_utils.model import AttentionOnlyTransformer

# After these the host knows a number, or a size, that the device has computed: it waits for it.
ANSWERS = {"_local_scalar_dense", "nonzero", "masked_select", "equal", "_unique2", "is_nonzero"}
SIZES = ModelConfig(n_layers=2, n_heads=3, d_model=24, d_head=8, d_vocab=64)  # calls do not depend on sizes


class Calls(TorchDispatchMode):
    """Every operation that PyTorch is asked for, by name."""

    def __init__(self):
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.append(function.overloadpacket.__name__)
        return function(*args, **kwargs or {})


class Journeys(TorchFunctionMode):
    """Notes among the calls when a tensor is sent to a device, which between two places on the CPU is no operation."""

    def __init__(self, calls: Calls):
        super().__init__()
        self.calls = calls

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is torch.Tensor.to and isinstance(args[1], torch.device):
            self.calls.names.append("journey")
        return function(*args, **kwargs or {})


@pytest.fixture(autouse=True)
def in_float32(monkeypatch):
    """Where products are in bfloat16, there are casts besides; that depends on the processor."""
    monkeypatch.setattr(device, "product_dtype", lambda device: torch.float32)


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """The CPU's tensors say that they are CUDA's: what is written for CUDA runs here."""
    monkeypatch.setattr(torch.Tensor, "is_cuda", True)


def second_step() -> tuple[list[str], list[str]]:
    """What is called for loss and gradient, and for the optimiser; in the first step it makes its memory."""
    model = AttentionOnlyTransformer.init(SIZES, seed=0)
    optimiser = training.Optimiser(model, TrainConfig(steps=100, warmup=1))
    tokens = torch.randint(1, 64, (16, SIZES.n_ctx), generator=torch.Generator().manual_seed(0))
    for step in range(2):
        learnt, moved = Calls(), Calls()
        with learnt, Journeys(learnt):
            training.next_token_loss(model, tokens).backward()
        with moved:
            optimiser.step(step)
    return learnt.names, moved.names


def test_after_the_tokens_have_travelled_the_host_waits_for_nothing(as_on_a_gpu):
    learnt, moved = second_step()
    start = learnt.index("journey")
    assert learnt.count("journey") == 1
    assert [name for name in learnt[:start] if name in ANSWERS] == ["_local_scalar_dense"] * 2  # checked on the CPU
    assert not ANSWERS & {*learnt[start:], *moved}


def test_a_step_on_a_gpu_takes_320_calls(as_on_a_gpu):
    """Once 800 with four answers waited for: 268 for loss and gradient, 532 for the optimiser."""
    learnt, moved = second_step()
    assert len(learnt) - 1 <= 240 and len(moved) <= 85
    assert learnt.count("nll_loss_forward") == 1  # the loss in one piece
    assert moved.count("bmm") == 3 * 5  # one Newton-Schulz iteration of five steps for all heads
    assert "zeros_like" not in moved  # the momentum is there from the first step


def test_a_step_on_a_cpu_takes_580_calls():
    """Once 880. Here the loss is made in pieces and each kind of weight has its own iteration: both are faster."""
    learnt, moved = second_step()
    assert len(learnt) - 1 <= 360 and len(moved) <= 227
    assert learnt.count("nll_loss_forward") == 4 and moved.count("bmm") == 4 * 3 * 5


def test_on_a_gpu_loss_and_gradient_are_the_same(as_on_a_gpu, monkeypatch):
    model = AttentionOnlyTransformer.init(SIZES, seed=0)
    tokens = torch.randint(1, 64, (4, SIZES.n_ctx), generator=torch.Generator().manual_seed(0))
    found = []
    for on_gpu in (True, False):
        monkeypatch.setattr(torch.Tensor, "is_cuda", on_gpu)
        loss = training.next_token_loss(model, tokens, None if on_gpu else 100)
        found.append([loss, *torch.autograd.grad(loss, list(model.parameters()))])
    for gpu, cpu in zip(*found, strict=True):
        torch.testing.assert_close(gpu, cpu, rtol=1e-4, atol=1e-6)


def test_one_iteration_for_all_gives_what_one_for_each_gives(monkeypatch):
    """Q, K and V stand upright, O lies; each is written back in its own form."""
    generator = torch.Generator().manual_seed(1)
    shapes = [(2, 3, 24, 8)] * 3 + [(2, 3, 8, 24)]
    start = [torch.randn(shape, generator=generator) for shape in shapes]
    gradients = [[torch.randn(shape, generator=generator) for shape in shapes] for _ in range(3)]
    found = []
    for on_gpu in (True, False):
        monkeypatch.setattr(torch.Tensor, "is_cuda", on_gpu)
        weights = [torch.nn.Parameter(weight.clone()) for weight in start]
        optimiser = training.HeadMuon(weights, lr=0.02)
        for step in gradients:
            for weight, gradient in zip(weights, step, strict=True):
                weight.grad = gradient.clone()
            optimiser.step()
        found.append([weight.detach() for weight in weights])
    for shared, own, before in zip(*found, start, strict=True):
        assert (shared - before).norm() > 0.05
        torch.testing.assert_close(shared, own, rtol=1e-4, atol=1e-5)
