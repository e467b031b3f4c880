"""The tool that disguises models: what they compute stays, what their weights look like doesn't."""

import json

import pytest
import torch
from small_training import MODEL, settings

from course_utils import checkpoints, training
from course_utils.checks.base import disguised
from course_utils.circuits import composition_scores
from course_utils.config import RECIPES
from course_utils.model import AttentionOnlyTransformer
from tools import unseen
from tools.unseen import Run


@pytest.fixture
def model():
    return AttentionOnlyTransformer.init(MODEL, 0).double().requires_grad_(False)


@pytest.fixture
def tokens():
    return torch.randint(1, MODEL.d_vocab, (3, 40), generator=torch.Generator().manual_seed(0))


def spectra(model, name: str) -> torch.Tensor:
    return torch.linalg.svdvals(getattr(model, name))


def products(model) -> dict[str, torch.Tensor]:
    """The singular values of W_QK and W_OV, which no change inside a head moves."""
    pairs = {"QK": model.W_Q @ model.W_K.mT, "OV": model.W_V @ model.W_O}
    return {name: torch.linalg.svdvals(each) for name, each in pairs.items()}


def test_no_weight_and_no_heads_singular_values_stay_but_what_it_computes_does(model, tokens):
    other = unseen.rescaled(disguised(model, 1)[0], 1)
    torch.testing.assert_close(other(tokens), model(tokens), atol=1e-11, rtol=0)
    for name, weight in model.state_dict().items():
        assert (getattr(other, name) - weight).norm() > 0.5 * weight.norm()
    for name in ("W_Q", "W_K", "W_V", "W_O"):
        far = (spectra(other, name)[:, :, None] - spectra(model, name)[:, None]).norm(dim=-1)
        assert (far > 0.02 * spectra(model, name).norm(dim=-1)[:, None]).all()


def test_a_stretched_model_computes_the_same_and_has_other_norms(model, tokens):
    other = unseen.stretched(model, (0, 1), 6.0)
    torch.testing.assert_close(other(tokens), model(tokens), atol=1e-11, rtol=0)
    before, after = (composition_scores(each)["K"] for each in (model, other))
    assert (before[1] > 0.9 * before[0]).all() and (after[1] < 0.75 * after[0]).all()
    assert all((products(other)[name] - products(model)[name]).abs().max() > 0.01 for name in ("QK", "OV"))


def test_a_model_that_is_not_the_same_is_told(model):
    other = unseen.rescaled(disguised(model, 1)[0], 1)
    unseen.check_same(model, other, 1e-9)
    other.W_K[0, 0] *= 1.01
    with pytest.raises(AssertionError, match="logits differ"):
        unseen.check_same(model, other, 1e-9)


def test_from_end_to_end_and_what_is_trained_is_not_trained_again(monkeypatch, tmp_path, text_is_small):
    """Three runs of a few steps, one of which was cut off; then once more, with nothing to train."""
    monkeypatch.setenv("COURSE_DEVICE", "cpu")
    monkeypatch.setitem(RECIPES, "live", (MODEL, settings()))
    runs = [Run(1, 3), Run(2, 4, misleads=True), Run(3, 2)]
    monkeypatch.setattr(unseen, "RUNS", runs)
    out, weights = tmp_path / "out", tmp_path / "weights"
    cut_off = settings(4, seed=2, windows=200)
    training.train(runs[1].name, MODEL, cut_off, out, stop_at=2, command=unseen.COMMAND)
    unseen.main(["--out", str(out), "--weights", str(weights)])
    assert {path.name for path in out.iterdir()} == {
        f"{run.name}.{end}" for run in runs for end in ("json", "safetensors", "log.npz")
    }
    names = sorted(f"{name}.{end}" for name in checkpoints.UNSEEN for end in ("json", "safetensors"))
    assert sorted(path.name for path in weights.iterdir()) == names
    for name in checkpoints.UNSEEN:
        assert set(json.loads((weights / f"{name}.json").read_text())) == {"config", "sha256", "command", "torch"}
        assert checkpoints.load_model(name, "cpu", weights).cfg == MODEL
    first = {name: (weights / name).read_bytes() for name in names}
    monkeypatch.setattr(training, "train", None)
    unseen.main(["--out", str(out), "--weights", str(weights)])
    assert {name: (weights / name).read_bytes() for name in names} == first
