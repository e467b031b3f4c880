"""The numbers of the map of the public model's heads are what the model gives."""

import json

import numpy as np
import pytest
import torch

from course_utils import corpus, load_model, smollm2
from course_utils.figures import public_heads
from course_utils.interventions import run_without
from course_utils.losses import token_losses
from course_utils.scores import prefix_matching_scores, previous_token_scores
from tools import public_heads as made

MEASURED = json.loads(corpus.read(public_heads.DATA))


@pytest.fixture(scope="module")
def model():
    return load_model(smollm2.NAME, "cpu")


@pytest.mark.release
def test_the_shipped_patterns_are_the_models(model):
    ids, pattern = made.pattern_over_text(model, smollm2.load_tokenizer())
    assert smollm2.load_tokenizer().decode(ids[1:]) == made.TEXT
    assert np.abs(public_heads.patterns(MEASURED) - pattern.numpy()).max() < 0.02  # 8 bits there


@pytest.mark.release
def test_the_shipped_scores_are_the_models(model):
    text = made.text_windows(smollm2.load_tokenizer())
    again = {
        "prefix_matching": prefix_matching_scores(model, made.SEQUENCES, pool=made.COMMON, batch=2),
        "previous_token": previous_token_scores(model, text, batch=2),
        "first_token": made.first_token_scores(model, text),
    }
    for name, scores in again.items():
        np.testing.assert_allclose(MEASURED["scores"][name], scores, atol=0.01, err_msg=name)


@pytest.mark.release
@pytest.mark.parametrize("head", [(0, 3), (16, 0), (18, 6)])
def test_the_shipped_losses_are_those_of_whole_runs_without_the_head(model, head):
    tokens, N = made.repeats(model), made.N
    losses = {}
    for name, heads in (("whole", []), ("without", [head])):
        with torch.no_grad():
            logits, _ = run_without(model, tokens, heads)
        losses[name] = token_losses(logits, tokens)[:, N + 1 :].double().mean().item()
    assert losses["whole"] == pytest.approx(MEASURED["loss"], abs=0.01)
    assert losses["without"] - losses["whole"] == pytest.approx(MEASURED["rise"][head[0]][head[1]], abs=0.01)
