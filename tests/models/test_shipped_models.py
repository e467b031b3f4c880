"""The three trained models are what the chapters say of them, measured on validation text."""

import functools
import json

import numpy as np
import pytest
import torch
from safetensors import safe_open

from course_utils import bigrams, checkpoints, corpus, formation, load_model, scores, training
from course_utils.config import ModelConfig, TrainConfig
from course_utils.losses import loss_by_position
from course_utils.model import AttentionOnlyTransformer

WINDOWS = 120  # spread over the validation text: the mean loss is known to about 0.04 nats


@pytest.fixture(scope="module")
def cpu():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_DEVICE", "cpu")
        yield


@pytest.fixture(scope="module")
def models(cpu):
    """A function that gives a model by name, and loads it once."""
    return functools.cache(load_model)


@pytest.fixture(scope="module")
def windows():
    every = corpus.windows(corpus.load_text("validation"), 256)
    assert len(every) > 2 * WINDOWS
    return every[torch.linspace(0, len(every) - 1, WINDOWS).round().long()]


@pytest.fixture(scope="module")
def losses(models, windows):
    by_position = lambda name: loss_by_position(models(name), windows, batch=2)  # noqa: E731  (small is faster)
    return {name: by_position(name)[:, 1:].double().mean().item() for name in checkpoints.SHIPPED}


@pytest.fixture(scope="module")
def prefix_matching(models):
    return {name: scores.prefix_matching_scores(models(name)) for name in ("one-layer", "two-layer")}


def test_the_zero_layer_model_is_as_good_as_a_smoothed_bigram_table(models):
    """On all pairs of the validation text, the same for both."""
    pairs = corpus.count_bigrams(corpus.load_text("validation"), 4096)
    smoothed = bigrams.loss(bigrams.kneser_ney(corpus.bigram_counts()), pairs)
    mine = bigrams.loss(bigrams.zero_layer(models("zero-layer")), pairs)
    assert 3 < smoothed < 5
    assert abs(mine - smoothed) < 0.05, (mine, smoothed)


def test_the_zero_layer_models_loss_is_the_same_counted_in_windows(models, windows, losses):
    pairs = sum(corpus.count_bigrams(row[1:], 4096) for row in windows)
    assert losses["zero-layer"] == pytest.approx(
        bigrams.loss(bigrams.zero_layer(models("zero-layer")), pairs), abs=1e-4
    )


def test_each_layer_helps(losses):
    assert losses["one-layer"] < losses["zero-layer"] - 0.3
    assert losses["two-layer"] < losses["one-layer"] - 0.3


def test_two_induction_heads_and_a_previous_token_head(models, windows, prefix_matching):
    found = prefix_matching["two-layer"]
    assert (found[1] >= 0.5).sum() >= 2, found[1]
    assert (found[0] <= 0.05).all(), found[0]  # what an induction head needs is written by layer 0
    previous = scores.previous_token_scores(models("two-layer"), windows[::3])
    assert previous[0].max() >= 0.7, previous[0]


def test_one_layer_has_no_induction_head(prefix_matching):
    assert prefix_matching["one-layer"].shape == (1, 12)
    assert (prefix_matching["one-layer"] <= 0.05).all(), prefix_matching["one-layer"]


def test_an_untrained_two_layer_model_has_none_either():
    untrained = AttentionOnlyTransformer.init(ModelConfig(n_layers=2)).requires_grad_(False)
    assert (scores.prefix_matching_scores(untrained) <= 0.05).all()


def test_only_two_layers_use_the_context_far_back(models, windows):
    """The second copy of random tokens is easier than the first for two layers alone."""
    tokens, lengths = scores.repeated_tokens(4096, n=24, shortest=80, longest=80)
    gain = {}
    for name in checkpoints.SHIPPED:
        loss = loss_by_position(models(name), tokens)
        gain[name] = (loss[:, 1:80].mean() - loss[:, 81:160].mean()).item()
    assert abs(gain["zero-layer"]) < 0.3
    assert gain["one-layer"] < 0.5 * gain["two-layer"] and gain["two-layer"] > 1, gain


@pytest.mark.parametrize("name", checkpoints.SHIPPED)
def test_cards_are_complete(name, losses):
    card = checkpoints.load_card(name)
    assert ModelConfig(**card["config"]) == training.RECIPES[name][0]
    assert len(card["sha256"]) == 64
    assert card["command"].startswith(f"python -m course_utils train {name}")
    assert card["tokens"] >= {"zero-layer": 20e6, "one-layer": 15e6, "two-layer": 30e6}[name]
    assert card["seconds"] > 10 and "cores" in card["machine"] and card["torch"] and card["threads"] >= 1
    TrainConfig(**card["training"])  # a run that can be made again
    assert card["validation_loss"] == pytest.approx(losses[name], abs=0.1)  # all windows there, a part here


@pytest.mark.parametrize("name", checkpoints.SHIPPED)
def test_weights_are_16_bit_finite_and_in_the_documented_shapes(name, models):
    with safe_open(checkpoints.WEIGHTS / f"{name}.safetensors", "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    assert all(tensor.isfinite().all() for tensor in tensors.values())
    L = models(name).cfg.n_layers
    assert {key: tuple(tensor.shape) for key, tensor in tensors.items()} == {
        "W_E": (4096, 384), "W_pos": (256, 384), "W_Q": (L, 12, 384, 32), "W_K": (L, 12, 384, 32),
        "W_V": (L, 12, 384, 32), "W_O": (L, 12, 32, 384), "W_U": (384, 4096),
    }  # fmt: skip


@pytest.mark.parametrize("name", checkpoints.SHIPPED)
def test_models_are_loaded_in_float32_and_eval_mode(name, models):
    assert {weight.dtype for weight in models(name).parameters()} == {torch.float32}
    assert not models(name).training and not any(weight.requires_grad for weight in models(name).parameters())


@pytest.fixture(scope="module")
def log():
    return checkpoints.load_log("two-layer")


def test_the_two_layer_log_shows_the_phase_change(log, prefix_matching):
    steps = checkpoints.load_card("two-layer")["training"]["steps"]
    assert len(log["eval_step"]) == len(set(log["eval_step"])) >= steps / 100
    assert log["eval_step"][0] == 0 and log["eval_step"][-1] == steps
    assert log["prefix_matching"].shape == log["previous_token"].shape == (len(log["eval_step"]), 2, 12)
    assert log["prefix_matching"][0].max() <= 0.05  # none at the start
    np.testing.assert_allclose(log["prefix_matching"][-1], prefix_matching["two-layer"], atol=0.1)  # on half as many
    assert log["validation_loss"][-1] < log["validation_loss"][0] - 4
    assert np.isfinite(log["in_context"]).all() and log["in_context"][-1] < -0.1
    assert len(log["step"]) == len(log["loss"]) == steps / 10


def test_the_two_layer_log_has_forty_snapshots(log):
    snaps = log["snap_step"]
    assert 35 <= len(snaps) == len(set(snaps)) <= 41
    assert snaps[0] == 0 and (np.diff(snaps) > 0).all()
    assert log["pattern"].shape == (len(snaps), 2, 12, 48, 48) and log["pattern"].dtype == np.uint8
    assert log["composition"].shape == (len(snaps), 3, 12, 12)
    assert (np.triu(log["pattern"], 1) == 0).all()
    assert abs(log["pattern"].astype(int).sum(-1) - 255).max() <= 24


def test_the_last_snapshot_is_of_the_shipped_model(log, models):
    model, ids = models("two-layer"), corpus.load_tokenizer().encode(formation.FIXED_TEXT)
    pattern = model.run_with_cache(torch.tensor([[0, *ids][:48]]))[1].pattern[:, 0]
    shipped = log["pattern"][-1].astype(float) / 255
    assert np.abs(shipped - pattern.numpy()).max() < 0.02  # 8 bits there, 16-bit weights here


SMALL_LOGS = {f"small-two-layer-{seed}": "small-two-layer" for seed in range(3)} | {
    name: name for name in ("small-one-layer", "small-smeared-keys")
}


@pytest.mark.parametrize("name", SMALL_LOGS)
def test_a_small_runs_log_fits_its_recipe_and_the_story(name):
    model_cfg, cfg = training.RECIPES[SMALL_LOGS[name]]
    log = checkpoints.load_log(name)
    assert log["tokens_per_step"] == cfg.batch * (model_cfg.n_ctx - 1)
    assert log["eval_step"].tolist() == [*range(0, cfg.steps, cfg.eval_every), cfg.steps]
    assert log["prefix_matching"].shape == (len(log["eval_step"]), model_cfg.n_layers, model_cfg.n_heads)
    assert log["pattern"].shape[1:] == (model_cfg.n_layers, model_cfg.n_heads, 48, 48)
    best = log["prefix_matching"].reshape(len(log["eval_step"]), -1).max(axis=1)
    assert best[0] < 0.05
    if name == "small-one-layer":
        assert best.max() < 0.05 and abs(log["in_context"][-5:].mean()) < 0.1
    else:
        assert best[-1] > 0.4 and log["in_context"][-5:].mean() < -0.1


def test_every_folder_of_weights_has_only_what_it_documents():
    names = {path.name for path in checkpoints.WEIGHTS.iterdir()}
    models = (*checkpoints.SHIPPED, *checkpoints.LIVE.values(), *checkpoints.UNSEEN)
    wanted = {f"{name}.{end}" for name in models for end in ("json", "safetensors")}
    logs = {f"{name}.log.npz" for name in ("one-layer", "two-layer", *SMALL_LOGS)}
    assert names == wanted | logs | {"README.md"}
    for name in models:
        assert json.loads((checkpoints.WEIGHTS / f"{name}.json").read_text("utf-8"))["config"]
