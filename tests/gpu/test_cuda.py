"""CPU and CUDA agree. Run with `pytest -m gpu` on a machine with a CUDA device.

With GPU_TESTS_ON=cpu the CPU is compared with itself: that these tests can run at all is seen without a GPU.
"""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from small_training import MODEL, settings

from course_utils import (
    checkpoints,
    circuits,
    corpus,
    device,
    interventions,
    load_model,
    losses,
    pick_device,
    scores,
    skip_trigrams,
    term_importance,
    training,
)
from course_utils.config import PUT_BACK, ModelConfig, TrainConfig, TransformerConfig
from course_utils.continuations import continue_greedily
from course_utils.errors import CourseError
from course_utils.model import AttentionOnlyTransformer
from course_utils.transformer import Transformer, class_of, fold_norms

DEVICE = os.environ.get("GPU_TESTS_ON", "cuda")
needs_cuda = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="this machine has no CUDA device: CPU and GPU were not compared"
)
pytestmark = [pytest.mark.gpu, *([needs_cuda] if DEVICE == "cuda" else [])]


@pytest.fixture(autouse=True)
def full_float32(monkeypatch):
    """TF32 rounds products to 10 bits; it is off by default, and here for certain."""
    monkeypatch.setenv("COURSE_DEVICE", DEVICE)
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32 = before


def tokens_of(batch: int, n_ctx: int = 256) -> torch.Tensor:
    tokens = torch.randint(1, 4096, (batch, n_ctx), generator=torch.Generator().manual_seed(0))
    tokens[:, 0] = 0
    return tokens


CONFIGS = {f"{n} layers": ModelConfig(n_layers=n) for n in (0, 1, 2)} | {
    "all put back": TransformerConfig(n_layers=2, **PUT_BACK["all"]),
    "as the public model": TransformerConfig(n_layers=2, norm="rms", mlp="gated", positions="rotary"),
}


@pytest.mark.parametrize("name", CONFIGS)
@torch.no_grad()
def test_logits_and_patterns_agree(name):
    model = class_of(CONFIGS[name]).init(CONFIGS[name], seed=3)
    tokens = tokens_of(4)
    on_cpu, cache = model.run_with_cache(tokens)
    model = model.to(DEVICE)
    on_cuda, cuda_cache = model.run_with_cache(tokens.to(DEVICE))
    torch.testing.assert_close(on_cuda.cpu(), on_cpu, rtol=0, atol=1e-4)
    torch.testing.assert_close(model(tokens.to(DEVICE)).cpu(), on_cpu, rtol=0, atol=1e-4)
    torch.testing.assert_close(cuda_cache.pattern.cpu(), cache.pattern, rtol=0, atol=1e-4)


@torch.no_grad()
def test_what_is_put_back_folds_and_continues_on_cuda():
    model = Transformer.init(CONFIGS["all put back"], seed=3).double()
    for weight in (model.ln1_w, model.ln2_b, model.ln_final_w):
        weight += torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)) / 3
    tokens = tokens_of(2, 64)
    logits, written = model(tokens), continue_greedily(model, tokens, 8, [(1, 3)])
    model = model.to(DEVICE)
    assert torch.equal(continue_greedily(model, tokens.to(DEVICE), 8, [(1, 3)]).cpu(), written)
    torch.testing.assert_close(fold_norms(model)(tokens.to(DEVICE)).cpu(), logits, rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_identities_hold_in_float64_on_cuda():
    model = AttentionOnlyTransformer.init(ModelConfig(n_layers=2), seed=3).double().to(DEVICE)
    tokens = tokens_of(2, 64).to(DEVICE)
    logits, cache = model.run_with_cache(tokens)
    stream = cache.resid[0] + sum(cache.head_out(layer, head) for layer in range(2) for head in range(12))
    torch.testing.assert_close(stream @ model.W_U, logits, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(model(tokens), logits, rtol=1e-10, atol=1e-10)


def test_a_seed_gives_the_same_weights_whatever_the_device():
    cfg = ModelConfig(n_layers=1, n_heads=2, d_model=16, d_head=8, d_vocab=64, n_ctx=8)
    plain = AttentionOnlyTransformer.init(cfg, seed=5)
    moved = AttentionOnlyTransformer.init(cfg, seed=5).to(pick_device())
    assert moved.W_E.device.type == DEVICE
    for name, weight in plain.named_parameters():
        assert torch.equal(dict(moved.named_parameters())[name].cpu(), weight), name


def test_the_shipped_model_is_loaded_on_the_gpu_and_scores_the_same():
    windows = corpus.windows(corpus.load_text("validation"), 256)[:32]
    model = load_model(checkpoints.SHIPPED[-1])
    assert model.W_E.device.type == DEVICE
    loss = losses.mean_loss(model, windows)
    prefix = scores.prefix_matching_scores(model, n=16)
    previous = scores.previous_token_scores(model, windows)
    model = load_model(checkpoints.SHIPPED[-1], device="cpu")
    assert losses.mean_loss(model, windows) == pytest.approx(loss, abs=1e-4)
    torch.testing.assert_close(scores.prefix_matching_scores(model, n=16), prefix, rtol=0, atol=1e-3)
    torch.testing.assert_close(scores.previous_token_scores(model, windows), previous, rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", ["2 layers", "all put back"])
def test_a_training_step_in_bf16_is_that_of_the_cpu(name):
    cfg, sizes = TrainConfig(steps=100, warmup=1), CONFIGS[name]
    found = []
    for where in ("cpu", DEVICE):
        model = class_of(sizes).init(sizes, seed=0).to(where)
        start = {name: weight.detach().cpu().clone() for name, weight in model.named_parameters()}
        loss = losses.next_token_loss(model, tokens_of(8).to(where))
        loss.backward()
        gradients = {name: weight.grad.cpu() for name, weight in model.named_parameters()}
        assert all(gradient.dtype == torch.float32 and gradient.isfinite().all() for gradient in gradients.values())
        training.Optimiser(model, cfg).step(0)
        assert all((weight.detach().cpu() != start[name]).any() for name, weight in model.named_parameters())
        found.append((loss.item(), gradients))
    (loss, expected), (loss_there, gradients) = found
    assert loss_there == pytest.approx(loss, abs=5e-3)
    for name, gradient in gradients.items():
        assert (gradient - expected[name]).norm() < 0.05 * expected[name].norm(), name


def test_steps_on_the_gpu_lower_the_loss():
    model = AttentionOnlyTransformer.init(ModelConfig(n_layers=2), seed=0).to(DEVICE)
    optimiser = training.Optimiser(model, TrainConfig(steps=100, warmup=1))
    tokens, found = tokens_of(8).to(DEVICE), []
    for step in range(10):
        found.append(losses.next_token_loss(model, tokens))
        found[-1].backward()
        optimiser.step(step)
    assert found[-1].item() < found[0].item() - 1


@torch.no_grad()
def test_tables_eigenvalues_and_skip_trigrams_agree():
    model = AttentionOnlyTransformer.init(ModelConfig(n_layers=1), seed=4).double()
    found = []
    for where in ("cpu", DEVICE):
        on = model.to(where)
        circuit = circuits.ov_circuit(on, 0, 3, centred=True)
        tops = skip_trigrams.of_head(on, 0, 3, 50), circuit.largest(50), circuits.random_heads(on, 1).W_Q
        positive = circuits.positivity(circuit.eigenvalues())
        found.append([x.cpu() for x in (circuit.row_topk(5)[0], *tops[0], tops[1].values, positive, tops[2])])
    for cpu, cuda in zip(*found, strict=True):
        torch.testing.assert_close(cuda, cpu, rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_interventions_agree():
    model, tokens = load_model("two-layer", "cpu"), tokens_of(2, 64)
    found = []
    for where in ("cpu", DEVICE):
        on, here = model.to(where), tokens.to(where)
        effects = interventions.path_effects(on, here)
        cut, _ = interventions.run_without(on, here, [(0, 7)], [((0, 8), (1, 1), "K")])
        streams = term_importance.streams_by_order(on, here, on.run_with_cache(here)[1].pattern)
        each = [losses.stream_loss(on, stream, here) for stream in streams]
        found.append([x.cpu() for x in (*effects.values(), cut, *each)])
    for cpu, cuda in zip(*found, strict=True):
        torch.testing.assert_close(cuda, cpu, rtol=0, atol=2e-3)


def test_tokens_left_on_the_cpu_are_named():
    model = AttentionOnlyTransformer.init(ModelConfig(n_layers=1), seed=0).to(DEVICE)
    elsewhere = tokens_of(1).to("meta" if DEVICE == "cpu" else "cpu")
    with pytest.raises(CourseError, match=f"the model is on {DEVICE}.*Remedy: move them there"):
        model(elsewhere)


# --- training ---


@needs_cuda
def test_the_host_waits_for_nothing_in_a_step():
    model = AttentionOnlyTransformer.init(ModelConfig(n_layers=2), seed=0).to(DEVICE)
    optimiser = training.Optimiser(model, TrainConfig(steps=100, warmup=1))
    try:
        for step in range(3):
            torch.cuda.set_sync_debug_mode("error" if step else "default")  # the first one makes what all need
            losses.next_token_loss(model, tokens_of(8)).backward()
            optimiser.step(step)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@needs_cuda
def test_products_are_in_bf16_where_the_card_has_it():
    native = torch.cuda.get_device_capability() >= (8, 0) or torch.version.hip
    assert device.product_dtype(torch.device(DEVICE)) == (torch.bfloat16 if native else torch.float32)


@pytest.fixture(scope="module")
def small_text():
    decode, documents = corpus.load_tokenizer().decode, corpus.documents(corpus.load_text("validation"))[:30]
    return corpus.join(corpus.load_tokenizer(1024).encode_batch([decode(ids) for ids in documents]))


@pytest.fixture
def run(monkeypatch, small_text, tmp_path):
    """Trains the small model of the unit tests into a folder, on a device, and gives its log."""
    monkeypatch.setattr(corpus, "load_text", lambda split, d_vocab=4096, full=False: small_text)

    def run(folder: str, on: str, **more) -> dict[str, np.ndarray]:
        monkeypatch.setenv("COURSE_DEVICE", on)
        model = training.train("small", MODEL, settings(12), tmp_path / folder, **more)
        assert model.W_E.device.type == on
        return checkpoints.load_log("small", tmp_path / folder) if "stop_at" not in more else {}

    return run


def assert_alike(mine: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    np.testing.assert_array_equal(mine["step"], other["step"])
    for name, most in {"loss": 0.05, "validation_loss": 0.05, "prefix_matching": 0.02, "previous_token": 0.02}.items():
        np.testing.assert_allclose(mine[name], other[name], atol=most, err_msg=name)
    assert other["loss"][0] - other["loss"][-1] > 0.5  # so much has happened in between


def test_a_run_on_the_gpu_is_that_of_the_cpu(run, tmp_path):
    assert_alike(run("there", DEVICE), run("here", "cpu"))
    reason = checkpoints.load_card("small", tmp_path / "there")["machine"]
    assert DEVICE in reason and load_model("small", "cpu", tmp_path / "there").W_E.device.type == "cpu"


def test_an_interrupted_run_on_the_gpu_goes_on(run, tmp_path):
    whole = run("whole", DEVICE)
    run("resumed", DEVICE, stop_at=5)
    assert not (tmp_path / "resumed" / "small.safetensors").exists()
    assert_alike(run("resumed", DEVICE, resume=True), whole)
    run("moved", DEVICE, stop_at=5)
    assert_alike(run("moved", "cpu", resume=True), whole)  # a state is of no device


@pytest.mark.parametrize("on", dict.fromkeys([DEVICE, "cpu"]))
def test_two_processes_are_one(run, small_text, tmp_path, root, on):
    """On the CPU of a machine with a GPU, too: what they talk through is chosen with the device."""
    if on == "cuda" and torch.cuda.device_count() < 2:
        pytest.skip("two processes on GPUs need two of them")
    np.save(tmp_path / "text.npy", small_text.numpy())
    script = root / "tests" / "small_training.py"
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", script,
         tmp_path / "two", tmp_path / "text.npy", "12"],
        cwd=root, capture_output=True, text=True, timeout=500,
        env=os.environ | {"COURSE_DEVICE": on, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert_alike(checkpoints.load_log("small", tmp_path / "two"), run("one", on))


def test_one_process_under_torchrun_closes_its_group(run, monkeypatch):
    for name, value in {
        "RANK": 0,
        "LOCAL_RANK": 0,
        "WORLD_SIZE": 1,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": 0,
    }.items():
        monkeypatch.setenv(name, str(value))
    run("one", DEVICE)
    assert not torch.distributed.is_initialized()
