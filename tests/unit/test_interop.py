"""To and from TransformerLens: here with a stand-in, and in an environment of its own with the library itself."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from course_utils import interop
from course_utils.config import ModelConfig
from course_utils.errors import CourseError
from course_utils.model import AttentionOnlyTransformer


def stand_in(model: AttentionOnlyTransformer, biases: dict | None = None, **changes) -> SimpleNamespace:
    """An object with the configuration and the tensors that a HookedTransformer has."""
    sizes = {key: value for key, value in model.cfg.to_dict().items() if key != "smeared_keys"}
    kind = {"attn_only": True, "normalization_type": None, "positional_embedding_type": "shortformer"}
    state = {place: getattr(model, name) for name, place in interop.TABLES.items()}
    for layer in range(model.cfg.n_layers):
        state |= {f"blocks.{layer}.attn.{name}": getattr(model, name)[layer] for name in interop.HEADS}
        state[f"blocks.{layer}.attn.b_Q"] = torch.zeros(model.cfg.n_heads, model.cfg.d_head)
    state |= biases or {}
    return SimpleNamespace(cfg=SimpleNamespace(**sizes | kind | changes), state_dict=lambda: state)


@pytest.mark.parametrize("n_layers", [0, 1, 2])
def test_weights_come_over_as_they_are(make_model, n_layers):
    model = make_model(n_layers=n_layers, dtype=torch.float32)
    back = interop.from_transformer_lens(stand_in(model))
    assert back.cfg == model.cfg and not back.training
    tokens = torch.arange(9)[None]
    assert torch.equal(back(tokens), model(tokens))


REFUSED = {
    "MLPs": ({"attn_only": False}, ["attn_only is False", "MLP"]),
    "LayerNorm": ({"normalization_type": "LNPre"}, ["'LNPre'", "LayerNorm"]),
    "positions in the stream": ({"positional_embedding_type": "standard"}, ["'standard'", "positions"]),
    "rotary positions": ({"positional_embedding_type": "rotary"}, ["'rotary'", "positions"]),
    "heads that look ahead": ({"attention_dir": "bidirectional"}, ["'bidirectional'"]),
    "another scale": ({"attn_scale": 1.0}, ["attn_scale is 1.0"]),
    "biases": ({"biases": {"blocks.1.attn.b_O": torch.ones(12)}}, ["blocks.1.attn.b_O", "biases"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_our_model_cannot_hold_is_refused(make_model, name):
    changes, words = REFUSED[name]
    with pytest.raises(CourseError) as caught:
        interop.from_transformer_lens(stand_in(make_model(), **changes))
    assert all(word in str(caught.value) for word in [*words, "Remedy:"]), caught.value


def test_what_is_no_model_is_refused():
    with pytest.raises(CourseError, match="HookedTransformer"):
        interop.from_transformer_lens("attn-only-2l")
    with pytest.raises(CourseError, match="model is 'two-layer'"):
        interop.to_transformer_lens("two-layer")
    smeared = AttentionOnlyTransformer(ModelConfig(1, 1, 4, 4, 8, 4, smeared_keys=True))
    with pytest.raises(CourseError, match="smeared keys"):
        interop.to_transformer_lens(smeared)


def test_without_the_library_the_error_says_how_to_get_it(make_model, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformer_lens", None)
    with pytest.raises(CourseError, match="transformer-lens<4"):
        interop.to_transformer_lens(make_model())


@pytest.mark.release
def test_both_give_the_same_logits(tmp_path, root, interop_python, record_property):
    environment = os.environ | {"PYTHONPATH": str(root), "COURSE_DEVICE": "cpu", "WANDB_MODE": "disabled"}
    script = Path(__file__).with_name("interop_checks.py")
    done = subprocess.run([interop_python, script], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    record_property("measured", done.stdout.strip().splitlines()[-1])
