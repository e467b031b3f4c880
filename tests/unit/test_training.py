"""Training: the optimiser, the schedule, what a run writes, and that interruptions leave no trace."""

import json
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import torch
from small_training import ALL_PUT_BACK, MODEL, settings

from course_utils import bigrams, checkpoints, corpus, formation, losses, training
from course_utils.config import PUT_BACK, ModelConfig, TransformerConfig
from course_utils.errors import CourseError
from course_utils.model import AttentionOnlyTransformer
from course_utils.transformer import Transformer

# --- the optimiser ---


def gradients(step: int, shape) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(step))


@pytest.mark.parametrize("shape", [(2, 3, 24, 8), (2, 3, 8, 24), (1, 2, 16, 16)], ids=str)
def test_heads_muon_is_torchs_muon_on_each_matrix(shape):
    start = gradients(99, shape)
    batched = torch.nn.Parameter(start.clone())
    singly = [torch.nn.Parameter(matrix.clone()) for matrix in start.flatten(0, 1)]
    mine = training.HeadMuon([batched], lr=0.02)
    theirs = torch.optim.Muon(singly, lr=0.02, weight_decay=0.1, momentum=0.95, adjust_lr_fn="match_rms_adamw")
    for step in range(5):
        batched.grad = gradients(step, shape)
        for matrix, grad in zip(singly, gradients(step, shape).flatten(0, 1), strict=True):
            matrix.grad = grad.clone()
        mine.step(), theirs.step()
    moved = batched.detach() - start
    other = torch.stack([matrix.detach() for matrix in singly]).view(shape) - start
    # torch iterates in bf16: 8 bits of precision, of which the iteration magnifies the last.
    assert (moved - other).norm() / other.norm() < 0.02
    assert ((moved - other).flatten(2).norm(dim=-1) / other.flatten(2).norm(dim=-1)).max() < 0.03


@pytest.mark.parametrize("shape", [(3, 10, 4), (3, 4, 10), (6, 6)], ids=str)
def test_orthogonalising_keeps_directions_and_evens_out_their_sizes(shape):
    X = gradients(1, shape).double()
    U, S, Vh = torch.linalg.svd(X, full_matrices=False)
    size = S / X.norm(dim=(-2, -1))[..., None]
    for _ in range(5):  # what the iteration does to each singular value
        size = 3.4445 * size - 4.7750 * size**3 + 2.0315 * size**5
    torch.testing.assert_close(training.orthogonalise(X), U * size[..., None, :] @ Vh, rtol=1e-5, atol=1e-5)
    found = torch.linalg.svdvals(training.orthogonalise(X))
    assert found.max() < 1.25
    assert (found[S / X.norm(dim=(-2, -1))[..., None] > 0.02] > 0.3).all()


def test_muon_is_for_heads_and_adam_for_the_rest_each_at_its_rate():
    model = AttentionOnlyTransformer.init(MODEL)
    cfg = settings(steps=100, warmup=10, lr=0.01, lr_adam=0.003)
    optimiser = training.Optimiser(model, cfg)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    for weight in model.parameters():
        weight.grad = torch.randn_like(weight)
    optimiser.step(0)
    moved = {
        name: (weight.detach() - before[name]).square().mean().sqrt().item()
        for name, weight in model.named_parameters()
    }
    for name in ("W_E", "W_pos", "W_U"):  # Adam's first step moves every weight by the rate, here a tenth of it
        assert moved[name] == pytest.approx(0.003 / 10, rel=1e-3), name
    for name in ("W_Q", "W_K", "W_V", "W_O"):  # about 0.2 of the rate: as large as Adam's steps are on average
        assert moved[name] == pytest.approx(0.2 * 0.01 / 10, rel=0.3), name
    assert all(weight.grad is None for weight in model.parameters())


GATED = TransformerConfig(**MODEL.to_dict(), **PUT_BACK["all"] | {"mlp": "gated", "positions": "stream"}, d_mlp=48)
MATRICES = {"W_Q", "W_K", "W_V", "W_O", "W_in", "W_gate", "W_out"}


@pytest.mark.parametrize(("optimiser", "first"), [("muon", 0.2), ("adamw", 1.0)])
def test_the_chosen_optimiser_is_for_heads_and_neurons_and_adam_for_all_else(optimiser, first):
    """Adam's first step moves every weight by the rate, Muon's by 0.2 of it on average."""
    model = Transformer.init(GATED)
    cfg = settings(steps=100, warmup=10, lr=0.01, lr_adam=0.003, optimiser=optimiser, weight_decay=0.0)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    for weight in model.parameters():
        weight.grad = torch.randn_like(weight)
    training.Optimiser(model, cfg).step(0)
    assert before.keys() > MATRICES | {"W_E", "W_pos", "b_gate", "b_Q", "ln1_w", "ln2_b", "ln_final_w"}
    for name, weight in model.named_parameters():
        moved = (weight.detach() - before[name]).square().mean().sqrt().item()
        by_muon = optimiser == "muon" and name in MATRICES
        rate = first * 0.01 / 10 if name in MATRICES else 0.003 / 10
        assert moved == pytest.approx(rate, rel=0.3 if by_muon else 1e-2), name


@pytest.mark.parametrize("optimiser", ["muon", "adamw"])
def test_weights_of_heads_and_neurons_alone_decay(optimiser):
    model = Transformer.init(GATED)
    for weight in model.parameters():
        weight.data += 0.1
        weight.grad = torch.zeros_like(weight)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    training.Optimiser(model, settings(optimiser=optimiser, warmup=1, lr=0.02, weight_decay=0.5)).step(0)
    for name, weight in model.named_parameters():
        kept = 1 - 0.02 * 0.5 if name in MATRICES else 1
        torch.testing.assert_close(weight.detach(), kept * before[name], rtol=1e-6, atol=0, msg=name)


def test_large_gradients_are_clipped():
    weights = []
    for scale in (1e3, 1e6):
        model = AttentionOnlyTransformer.init(MODEL)
        optimiser = training.Optimiser(model, settings())
        for step in range(2):
            for i, weight in enumerate(model.parameters()):
                weight.grad = gradients(i + 10 * step, weight.shape) * scale
            optimiser.step(step)
        weights.append(torch.cat([weight.detach().flatten() for weight in model.parameters()]))
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-3, atol=1e-6)


def test_the_loss_is_the_mean_over_all_positions_but_the_first(small_text):
    model = AttentionOnlyTransformer.init(MODEL)
    tokens = corpus.windows(small_text, 64)[:6]
    for chunk in (1024, 50):
        assert losses.next_token_loss(model, tokens, chunk).item() == pytest.approx(
            losses.mean_loss(model, tokens), abs=2e-3
        )  # bf16 products


def test_the_loss_has_the_gradient_of_the_plain_one(small_text):
    tokens = corpus.windows(small_text, 64)[:6]
    found = []
    for loss_of in (
        losses.next_token_loss,
        lambda m, t: torch.nn.functional.cross_entropy(m(t)[:, 1:-1].flatten(0, 1), t[:, 2:].flatten()),
    ):
        model = AttentionOnlyTransformer.init(MODEL)
        loss_of(model, tokens).backward()
        found.append({name: weight.grad for name, weight in model.named_parameters()})
    for name, mine in found[0].items():
        assert (mine - found[1][name]).norm() < 0.03 * found[1][name].norm(), name


def test_the_windows_of_a_step_depend_on_seed_and_step_alone(small_text):
    starts = corpus.window_starts(small_text, 64)
    draw = lambda step, **changes: training.sample_windows(small_text, starts, 64, settings(**changes), step)  # noqa: E731
    torch.manual_seed(1)
    first = draw(3)
    torch.manual_seed(2)
    assert torch.equal(draw(3), first) and first.shape == (4, 64) and (first[:, 0] == 0).all()
    assert not torch.equal(draw(4), first) and not torch.equal(draw(3, seed=1), first)
    assert torch.equal(draw(3, steps=99, lr=0.1), first)


# --- whole runs ---


def log_of(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / "small.log.npz", allow_pickle=False) as arrays:
        return dict(arrays)


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, small_text):
    """A run that was not interrupted: its folder and its model."""
    folder, before = tmp_path_factory.mktemp("whole"), torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_DEVICE", "cpu")
        patch.setattr(corpus, "load_text", lambda split, d_vocab=4096, full=False: small_text)
        model = training.train("small", MODEL, settings(), folder, command="made by a test")
    torch.set_num_threads(before)
    return folder, model


@pytest.fixture
def on_the_cpu(monkeypatch):
    monkeypatch.setenv("COURSE_DEVICE", "cpu")


def test_the_log_has_the_documented_arrays(whole):
    log, cfg = log_of(whole[0]), MODEL
    snaps = sorted(formation.snapshot_steps(12))
    assert log["step"].tolist() == [0, 10] and log["loss"].shape == (2,)
    assert log["eval_step"].tolist() == [0, 5, 10, 12]
    assert log["validation_loss"].shape == log["in_context"].shape == (4,)
    assert log["prefix_matching"].shape == log["previous_token"].shape == (4, cfg.n_layers, cfg.n_heads)
    assert log["snap_step"].tolist() == snaps
    assert log["pattern"].shape == (len(snaps), cfg.n_layers, cfg.n_heads, 48, 48) and log["pattern"].dtype == np.uint8
    assert log["composition"].shape == (len(snaps), 3, cfg.n_heads, cfg.n_heads)
    assert log["tokens_per_step"] == 4 * 63
    rows = log["pattern"].astype(int).sum(-1)
    assert abs(rows - 255).max() <= 24  # each row is 1, rounded entry by entry
    assert (np.triu(log["pattern"], 1) == 0).all()
    assert not np.array_equal(log["pattern"][0], log["pattern"][-1])
    assert 0 < log["composition"].min() and log["composition"].max() < 1


def test_a_run_learns_and_its_loss_is_measured(whole, small_text):
    folder, model = whole
    log = log_of(folder)
    assert log["validation_loss"][0] == pytest.approx(np.log(1024), abs=1)
    assert log["validation_loss"][-1] < log["validation_loss"][0] - 0.3
    windows = corpus.windows(small_text, 64)
    direct = losses.mean_loss(model, windows[:: max(1, len(windows) // 96)][:96])
    assert log["validation_loss"][-1] == pytest.approx(direct, abs=0.01)
    card = checkpoints.load_card("small", folder)
    assert card["validation_loss"] == pytest.approx(losses.mean_loss(model, windows), abs=1e-4)


def test_a_run_writes_weights_and_a_complete_card(whole):
    folder, model = whole
    card = checkpoints.load_card("small", folder)
    assert card["config"] == MODEL.to_dict() and card["training"] == settings().to_dict()
    assert (card["command"], card["tokens"], card["threads"]) == ("made by a test", 12 * 4 * 63, 1)
    assert card["seconds"] >= 0 and "cores" in card["machine"] and card["torch"] == torch.__version__
    loaded = checkpoints.load_model("small", folder=folder, device="cpu")
    for name, weight in model.named_parameters():
        assert torch.equal(dict(loaded.named_parameters())[name], weight.detach().half().float()), name
    names = {path.name for path in folder.iterdir()}
    assert names == {"small.safetensors", "small.json", "small.log.npz", "small.state.safetensors"}


@pytest.mark.parametrize("optimiser", ["muon", "adamw"])
def test_an_interrupted_run_with_all_put_back_ends_as_an_uninterrupted_one(
    tmp_path, text_is_small, one_thread, on_the_cpu, optimiser
):
    def run(folder, **more):
        return training.train("small", ALL_PUT_BACK, settings(optimiser=optimiser), tmp_path / folder, **more)

    whole = run("whole")
    run("resumed", stop_at=5)
    resumed = run("resumed", resume=True)
    assert type(whole) is Transformer and whole.cfg == ALL_PUT_BACK
    for (name, mine), weight in zip(resumed.named_parameters(), whole.named_parameters(), strict=True):
        assert torch.equal(mine, weight[1]), name
    mine, other = log_of(tmp_path / "resumed"), log_of(tmp_path / "whole")
    for name, value in mine.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)
    assert other["validation_loss"][-1] < other["validation_loss"][0] - 0.3
    paths = (tmp_path / folder / "small.safetensors" for folder in ("whole", "resumed"))
    assert len({path.read_bytes() for path in paths}) == 1
    loaded = checkpoints.load_model("small", "cpu", tmp_path / "whole")
    assert loaded.cfg == ALL_PUT_BACK
    assert all(torch.equal(loaded.state_dict()[name], w.half().float()) for name, w in whole.state_dict().items())
    assert checkpoints.load_card("small", tmp_path / "whole")["training"]["optimiser"] == optimiser


def test_the_cards_loss_is_measured_on_so_many_windows(tmp_path, text_is_small, on_the_cpu, small_text):
    windows = corpus.windows(small_text, 64)
    assert len(windows) > 20
    found = {}
    for n in (3, 1_000_000):
        model = training.train("small", MODEL, settings(2, windows=n), tmp_path / str(n))
        found[n] = checkpoints.load_card("small", tmp_path / str(n))["validation_loss"]
        spread = windows[:: max(1, len(windows) // n)][:n]  # over the whole text
        assert len(spread) == min(n, len(windows))
        assert found[n] == pytest.approx(losses.mean_loss(model, spread), abs=1e-4)
    assert found[3] != found[1_000_000]


@pytest.mark.parametrize("stop_at", [5, pytest.param(6, marks=pytest.mark.release)])
def test_an_interrupted_run_ends_as_an_uninterrupted_one(
    whole, tmp_path, text_is_small, one_thread, on_the_cpu, stop_at
):
    run = lambda **more: training.train("small", MODEL, settings(), tmp_path, **more)  # noqa: E731
    run(stop_at=stop_at)
    assert not (tmp_path / "small.safetensors").exists()  # unfinished
    resumed = run(resume=True)
    for (name, mine), weight in zip(resumed.named_parameters(), whole[1].parameters(), strict=True):
        assert torch.equal(mine, weight), name
    mine, other = log_of(tmp_path), log_of(whole[0])
    assert set(mine) == set(other)
    for name, value in mine.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)
        assert value.dtype == other[name].dtype, name
    assert (tmp_path / "small.safetensors").read_bytes() == (whole[0] / "small.safetensors").read_bytes()


def test_resuming_a_finished_run_changes_nothing(whole, tmp_path, text_is_small, one_thread, on_the_cpu):
    state = "small.state.safetensors"
    (tmp_path / state).write_bytes((whole[0] / state).read_bytes())
    again = training.train("small", MODEL, settings(), tmp_path, resume=True)
    for mine, weight in zip(again.parameters(), whole[1].parameters(), strict=True):
        assert torch.equal(mine, weight)
    for name, value in log_of(tmp_path).items():
        np.testing.assert_array_equal(value, log_of(whole[0])[name], err_msg=name)


@pytest.mark.release
def test_resuming_without_a_state_begins_anew(whole, tmp_path, text_is_small, one_thread, on_the_cpu):
    fresh = training.train("small", MODEL, settings(), tmp_path, resume=True)
    assert all(torch.equal(a, b) for a, b in zip(fresh.parameters(), whole[1].parameters(), strict=True))


CHANGES = {
    "batch": (MODEL, settings(batch=8), ["batch is 8", "4"]),
    "steps": (MODEL, settings(steps=11), ["steps is 11", "12"]),
    "seed": (MODEL, settings(seed=1), ["seed is 1", "0"]),
    "rate": (MODEL, settings(lr=0.5), ["lr is 0.5", "0.02"]),
    "optimiser": (MODEL, settings(optimiser="adamw"), ["optimiser is adamw", "muon"]),
    "heads": (ModelConfig(**MODEL.to_dict() | {"n_heads": 4}), settings(), ["n_heads is 4", "2"]),
}


@pytest.mark.parametrize("name", CHANGES)
def test_resuming_with_another_configuration_is_refused(whole, tmp_path, text_is_small, name):
    model_cfg, cfg, words = CHANGES[name]
    state = "small.state.safetensors"
    (tmp_path / state).write_bytes((whole[0] / state).read_bytes())
    with pytest.raises(CourseError) as caught:
        training.train("small", model_cfg, cfg, tmp_path, resume=True)
    assert all(word in str(caught.value) for word in [*words, state, "Remedy:"])
    assert [path.name for path in tmp_path.iterdir()] == [state]


@pytest.mark.release
def test_a_finished_run_can_be_made_longer(whole, tmp_path, text_is_small, one_thread, capsys):
    state = "small.state.safetensors"
    (tmp_path / state).write_bytes((whole[0] / state).read_bytes())
    longer = training.train("small", MODEL, settings(steps=15), tmp_path, resume=True, command="longer")
    assert "15 steps in place of 12" in capsys.readouterr().out
    assert not torch.equal(longer.W_Q, whole[1].W_Q)
    assert checkpoints.load_card("small", tmp_path)["command"].endswith("; longer --resume")
    assert log_of(tmp_path)["eval_step"][-1] == 15


def test_another_number_of_threads_is_reported(whole, one_thread, capsys, monkeypatch):
    model, cfg = AttentionOnlyTransformer.init(MODEL), settings()
    optimiser, state = training.Optimiser(model, cfg), whole[0] / "small.state.safetensors"
    load = lambda: training._load_state(state, model, optimiser, cfg)  # noqa: E731
    load()
    assert "threads" not in capsys.readouterr().out
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    load()
    assert "used 1 threads, this one 3" in capsys.readouterr().out


@pytest.mark.release
def test_two_processes_give_the_loss_of_one(whole, tmp_path, small_text, root):
    np.save(tmp_path / "text.npy", small_text.numpy())
    script = root / "tests" / "small_training.py"
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", script, tmp_path / "out",
         tmp_path / "text.npy", "12"],
        cwd=root, capture_output=True, text=True, timeout=300,
        env=os.environ | {"COURSE_DEVICE": "cpu", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr.count("training small on") + done.stdout.count("training small on") == 1  # one of them talks
    two, one = log_of(tmp_path / "out"), log_of(whole[0])
    np.testing.assert_array_equal(two["step"], one["step"])
    # The same windows, split over the two; their gradients are rounded to bf16 apart from each other.
    np.testing.assert_allclose(two["loss"], one["loss"], atol=0.005)
    np.testing.assert_allclose(two["validation_loss"][[0, -1]], one["validation_loss"][[0, -1]], atol=0.005)
    assert abs(one["loss"][0] - one["loss"][1]) > 0.5  # so much has happened in between
    start = AttentionOnlyTransformer.init(MODEL).state_dict()
    ended = checkpoints.read_tensors(tmp_path / "out" / "small.state.safetensors")
    for name, weight in whole[1].named_parameters():
        difference = (ended[f"model/{name}"] - weight.detach()).norm() / (weight.detach() - start[name]).norm()
        assert difference < 0.06, name  # seen: 0.024 and less; processes that do not share gradients: 0.3 and more


def test_two_halves_of_a_batch_averaged_are_the_batch(small_text, monkeypatch):
    """What two processes do to loss and gradients; the other one is played by numbers made before."""
    tokens = corpus.windows(small_text, 64)[:4]

    def of(part: torch.Tensor) -> tuple[AttentionOnlyTransformer, torch.Tensor]:
        model = AttentionOnlyTransformer.init(MODEL)
        loss = losses.next_token_loss(model, part)
        loss.backward()
        return model, loss.detach()

    (one, loss), (other, its), (both, expected) = (of(part) for part in (tokens[0::2], tokens[1::2], tokens))
    theirs = iter([its, *(weight.grad for weight in other.parameters())])
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda tensor: tensor.add_(next(theirs)))
    assert training._average(one, loss, 2).item() == pytest.approx(expected.item(), abs=1e-3)
    for (name, weight), whole in zip(one.named_parameters(), both.parameters(), strict=True):
        assert (weight.grad - whole.grad).norm() < 0.02 * whole.grad.norm(), name  # in bf16 apart from each other
    assert next(theirs, None) is None


@pytest.fixture
def under_torchrun(monkeypatch):
    """What torchrun tells the second of two processes; and what the group is made and closed with is noted."""
    for name, value in {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    called = []
    monkeypatch.setattr(torch.distributed, "init_process_group", called.append)
    monkeypatch.setattr(torch.distributed, "destroy_process_group", lambda: called.append("closed"))
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", called.append)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)  # a GPU that is there need not be what is chosen
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    return called


@pytest.mark.parametrize(
    ("chosen", "mine", "called"),
    [("cpu", "cpu", ["gloo", "closed"]), ("cuda", "cuda:1", [torch.device("cuda:1"), "nccl", "closed"])],
)
def test_processes_talk_through_what_the_chosen_device_needs(under_torchrun, chosen, mine, called):
    with training._processes(torch.device(chosen)) as found:
        assert found == (1, 2, torch.device(mine)) and "closed" not in under_torchrun
    assert under_torchrun == called


def test_the_group_is_closed_when_training_fails(under_torchrun, on_the_cpu, monkeypatch, tmp_path):
    monkeypatch.setattr(corpus, "load_text", lambda *_, **__: torch.zeros(3, dtype=torch.long))
    with pytest.raises(CourseError, match="a text of 3 tokens"):
        training.train("small", MODEL, settings(), tmp_path)
    assert under_torchrun == ["gloo", "closed"]


def test_more_processes_than_cards_and_devices_that_cannot_talk_are_refused(under_torchrun, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(CourseError, match="cuda:1.*Remedy:"), training._processes(torch.device("cuda")):
        pass
    with (
        pytest.raises(CourseError, match="torchrun on mps.*cpu or cuda.*Remedy:"),
        training._processes(torch.device("mps")),
    ):
        pass
    assert under_torchrun == []


def test_a_batch_that_does_not_divide_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(training, "_processes", lambda device: nullcontext((0, 3, device)))
    with pytest.raises(CourseError, match="batch 4.*3 processes.*Remedy:"):
        training.train("small", MODEL, settings(), tmp_path)


@pytest.mark.parametrize("steps", [1, 12, 7_500])
def test_snapshots_are_at_some_forty_steps_closer_together_early(steps):
    found = sorted(formation.snapshot_steps(steps))
    assert found[0] == 0 and found[-1] == steps
    assert len(found) <= 41 and (steps < 100 or len(found) > 32)
    gaps = np.diff(found)
    assert (gaps[1:] >= gaps[:-1] - 1).all()


def test_the_fixed_text_is_long_enough_and_repeats_itself():
    for d_vocab in corpus.VOCABULARIES:
        ids = corpus.load_tokenizer(d_vocab).encode(formation.FIXED_TEXT)[: formation.FIXED_LENGTH - 1]
        assert len(ids) == formation.FIXED_LENGTH - 1
        pairs = list(zip(ids, ids[1:], strict=False))
        assert len(pairs) - len(set(pairs)) >= 5  # something to induce


# --- the zero-layer model ---


@pytest.fixture
def pairs(small_text):
    """Counts of the 256 commonest tokens of the small text."""
    counts = corpus.count_bigrams(small_text, 1024).tocsr()
    common = np.sort(np.argsort(-counts.sum(0))[:256])
    return scipy.sparse.csr_array(counts[common][:, common])


def test_training_on_bigrams_nears_the_entropy_of_the_table(pairs, on_the_cpu):
    dense = pairs.toarray().astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        best = -np.nansum(dense * np.log(dense / dense.sum(1, keepdims=True))) / dense.sum()
    model, record = training.train_on_bigrams(64, 200, counts=pairs, holdout=pairs, check_every=50)
    assert [step for step, _ in record] == [0, 50, 100, 150, 200]
    assert record[0][1] == pytest.approx(np.log(256), abs=0.6)
    assert best < record[-1][1] < best + 0.1 < record[0][1]
    assert bigrams.loss(bigrams.zero_layer(model), pairs) == pytest.approx(record[-1][1], abs=1e-6)
    assert (model.cfg.n_layers, model.cfg.d_model, model.cfg.d_vocab) == (0, 64, 256)
    again, _ = training.train_on_bigrams(64, 20, counts=pairs)
    other, _ = training.train_on_bigrams(64, 20, counts=pairs)
    assert torch.equal(again.W_E, other.W_E)


def test_the_gradient_in_closed_form_is_that_of_the_loss(pairs):
    model = AttentionOnlyTransformer.init(ModelConfig(n_layers=0, d_model=8, d_vocab=256))
    text = torch.from_numpy(pairs.toarray()).float() / pairs.sum()
    (-(text * (model.W_E @ model.W_U).log_softmax(1)).sum()).backward()
    expected = model.W_E.grad.clone(), model.W_U.grad.clone()
    training._bigram_gradient(model, text)
    for mine, plain in zip((model.W_E.grad, model.W_U.grad), expected, strict=True):
        assert (mine - plain).norm() < 0.02 * plain.norm()  # bf16 products


def test_bigram_loss_against_a_loop(pairs):
    model = AttentionOnlyTransformer.init(ModelConfig(n_layers=0, d_model=8, d_vocab=256))
    log_probs = (model.W_E @ model.W_U).log_softmax(1)
    entries = pairs.tocoo()
    loss = -sum(n * log_probs[a, b].item() for n, a, b in zip(entries.data, *entries.coords, strict=True)) / pairs.sum()
    assert bigrams.loss(bigrams.zero_layer(model), pairs) == pytest.approx(loss, abs=1e-4)


def test_the_zero_layer_model_is_saved_with_its_card(monkeypatch, tmp_path, pairs, on_the_cpu):
    monkeypatch.setattr(corpus, "bigram_counts", lambda: pairs)
    monkeypatch.setattr(corpus, "load_text", lambda split, d_vocab=4096, full=False: torch.arange(600) % 256)
    training.train_zero_layer(settings(steps=3, d_vocab=1024), tmp_path, command="made by a test")
    model = checkpoints.load_model("zero-layer", folder=tmp_path, device="cpu")
    assert model.cfg.n_layers == 0 and model.cfg.d_vocab == 256
    card = json.loads((tmp_path / "zero-layer.json").read_text())
    assert card["command"] == "made by a test" and card["training"]["steps"] == 3 and card["validation_loss"] > 0
    assert card["tokens"] == pairs.sum()


def test_a_run_is_watched_whenever_its_state_is_kept(tmp_path, text_is_small, on_the_cpu):
    state, seen = tmp_path / "small.state.safetensors", []

    def watch(model):
        seen.append((checkpoints.read_about(state)["step"], model.cfg))

    training.train("small", MODEL, settings(), tmp_path, save_every=4, stop_at=10, watch=watch)
    assert seen == [(4, MODEL), (8, MODEL), (10, MODEL)]
