"""CPU and CUDA agree. Run with `pytest -m gpu` on a machine with a CUDA device."""

import pytest
import torch

from course_utils import (
    checkpoints,
    circuits,
    corpus,
    interventions,
    load_model,
    losses,
    pick_device,
    scores,
    skip_trigrams,
    term_importance,
    training,
)
from course_utils.config import ModelConfig, TrainConfig
from course_utils.model import AttentionOnlyTransformer

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not torch.cuda.is_available(), reason="this machine has no CUDA device: CPU and GPU were not compared"
    ),
]


@pytest.fixture(autouse=True)
def full_float32(monkeypatch):
    """TF32 rounds products to 10 bits; it is off by default, and here for certain."""
    monkeypatch.delenv("COURSE_DEVICE", raising=False)
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32 = before


def tokens_of(batch: int, n_ctx: int = 256) -> torch.Tensor:
    tokens = torch.randint(1, 4096, (batch, n_ctx), generator=torch.Generator().manual_seed(0))
    tokens[:, 0] = 0
    return tokens


@pytest.mark.parametrize("n_layers", [0, 1, 2])
@torch.no_grad()
def test_logits_and_patterns_agree(n_layers):
    model = AttentionOnlyTransformer.init(ModelConfig(n_layers=n_layers), seed=3)
    tokens = tokens_of(4)
    on_cpu, cache = model.run_with_cache(tokens)
    model = model.to("cuda")
    on_cuda, cuda_cache = model.run_with_cache(tokens.cuda())
    torch.testing.assert_close(on_cuda.cpu(), on_cpu, rtol=0, atol=1e-4)
    torch.testing.assert_close(model(tokens.cuda()).cpu(), on_cpu, rtol=0, atol=1e-4)
    torch.testing.assert_close(cuda_cache.pattern.cpu(), cache.pattern, rtol=0, atol=1e-4)


@torch.no_grad()
def test_identities_hold_in_float64_on_cuda():
    model = AttentionOnlyTransformer.init(ModelConfig(n_layers=2), seed=3).double().cuda()
    tokens = tokens_of(2, 64).cuda()
    logits, cache = model.run_with_cache(tokens)
    stream = cache.resid[0] + sum(cache.head_out(layer, head) for layer in range(2) for head in range(12))
    torch.testing.assert_close(stream @ model.W_U, logits, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(model(tokens), logits, rtol=1e-10, atol=1e-10)


def test_a_seed_gives_the_same_weights_whatever_the_device():
    cfg = ModelConfig(n_layers=1, n_heads=2, d_model=16, d_head=8, d_vocab=64, n_ctx=8)
    plain = AttentionOnlyTransformer.init(cfg, seed=5)
    moved = AttentionOnlyTransformer.init(cfg, seed=5).to(pick_device())
    assert moved.W_E.is_cuda
    for name, weight in plain.named_parameters():
        assert torch.equal(dict(moved.named_parameters())[name].cpu(), weight), name


def test_the_shipped_model_is_loaded_on_the_gpu_and_scores_the_same():
    windows = corpus.windows(corpus.load_text("validation"), 256)[:32]
    model = load_model(checkpoints.SHIPPED[-1])
    assert model.W_E.is_cuda
    loss = scores.mean_loss(model, windows)
    prefix = scores.prefix_matching_scores(model, n=16)
    previous = scores.previous_token_scores(model, windows)
    model = load_model(checkpoints.SHIPPED[-1], device="cpu")
    assert scores.mean_loss(model, windows) == pytest.approx(loss, abs=1e-4)
    torch.testing.assert_close(scores.prefix_matching_scores(model, n=16), prefix, rtol=0, atol=1e-3)
    torch.testing.assert_close(scores.previous_token_scores(model, windows), previous, rtol=0, atol=1e-3)


def test_a_training_step_in_bf16_is_that_of_the_cpu():
    cfg, sizes = TrainConfig(steps=100, warmup=1), ModelConfig(n_layers=2)
    found = {}
    for device in ("cpu", "cuda"):
        model = AttentionOnlyTransformer.init(sizes, seed=0).to(device)
        start = {name: weight.detach().cpu().clone() for name, weight in model.named_parameters()}
        loss = training.next_token_loss(model, tokens_of(8).to(device))
        loss.backward()
        gradients = {name: weight.grad.cpu() for name, weight in model.named_parameters()}
        assert all(gradient.dtype == torch.float32 and gradient.isfinite().all() for gradient in gradients.values())
        training.Optimiser(model, cfg).step(0)
        assert all((weight.detach().cpu() != start[name]).any() for name, weight in model.named_parameters())
        found[device] = loss.item(), gradients
    assert found["cuda"][0] == pytest.approx(found["cpu"][0], abs=5e-3)
    for name, gradient in found["cuda"][1].items():
        assert (gradient - found["cpu"][1][name]).norm() < 0.05 * found["cpu"][1][name].norm(), name


def test_steps_on_the_gpu_lower_the_loss():
    model = AttentionOnlyTransformer.init(ModelConfig(n_layers=2), seed=0).cuda()
    optimiser = training.Optimiser(model, TrainConfig(steps=100, warmup=1))
    tokens, losses = tokens_of(8).cuda(), []
    for step in range(10):
        losses.append(training.next_token_loss(model, tokens))
        losses[-1].backward()
        optimiser.step(step)
    assert losses[-1].item() < losses[0].item() - 1


@torch.no_grad()
def test_tables_eigenvalues_and_skip_trigrams_agree():
    model = AttentionOnlyTransformer.init(ModelConfig(n_layers=1), seed=4).double()
    found = {}
    for device in ("cpu", "cuda"):
        on = model.to(device)
        circuit = circuits.ov_circuit(on, 0, 3, centred=True)
        tops = skip_trigrams.of_head(on, 0, 3, 50), circuit.largest(50), circuits.random_heads(on, 1).W_Q
        found[device] = (
            circuit.row_topk(5)[0],
            *tops[0],
            tops[1].values,
            circuits.positivity(circuit.eigenvalues()),
            tops[2],
        )
    for cpu, cuda in zip(*found.values(), strict=True):
        torch.testing.assert_close(cuda.cpu(), cpu, rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_interventions_agree():
    model, tokens = load_model("two-layer", "cpu"), tokens_of(2, 64)
    found = {}
    for device in ("cpu", "cuda"):
        on, here = model.to(device), tokens.to(device)
        effects = interventions.path_effects(on, here)
        cut, _ = interventions.run_without(on, here, [(0, 7)], [((0, 8), (1, 1), "K")])
        streams = term_importance.streams_by_order(on, here, on.run_with_cache(here)[1].pattern)
        losses = [losses.stream_loss(on, stream, here) for stream in streams]
        found[device] = *effects.values(), cut, *losses
    for cpu, cuda in zip(*found.values(), strict=True):
        torch.testing.assert_close(cuda.cpu(), cpu, rtol=0, atol=2e-3)
