"""What a model goes on to write: with keys and values kept, the same as without."""

import pytest
import torch

from course_utils import interventions
from course_utils.continuations import continue_greedily
from course_utils.errors import CourseError


def slowly(model, tokens, steps, ablated=()):
    """The whole text read anew at each step."""
    for _ in range(steps):
        logits = model.run_with_cache(tokens, interventions.ablate(ablated))[0]
        tokens = torch.cat([tokens, logits[:, -1:].argmax(-1)], dim=1)
    return tokens[:, -steps:]


@pytest.mark.parametrize("ablated", [[], [(0, 1)], [(0, 0), (1, 2), (1, 0)]], ids=str)
def test_kept_keys_and_values_change_nothing(make_transformer, tokens_for, put_back, ablated):
    model = make_transformer(3, n_ctx=14, **put_back | {"smeared_keys": False})
    if model.cfg.positions == "stream":  # refused, below
        return
    for pos in (1, 6):
        tokens = tokens_for(model, batch=3, pos=pos)
        written = continue_greedily(model, tokens, 14 - pos, ablated)
        assert written.dtype == torch.int64 and torch.equal(written, slowly(model, tokens, 14 - pos, ablated))


@pytest.mark.parametrize("n_layers", [0, 1, 2])
def test_the_model_of_the_paper_goes_on_as_well(make_model, tokens_for, n_layers):
    model = make_model(4, n_layers=n_layers, n_ctx=14)
    tokens = tokens_for(model, batch=3, pos=4)
    ablated = [(0, 1)][:n_layers]
    assert torch.equal(continue_greedily(model, tokens, 9, ablated), slowly(model, tokens, 9, ablated))
    assert torch.equal(continue_greedily(model, tokens.int(), 9, iter(ablated)), slowly(model, tokens, 9, ablated))


def test_heads_that_are_taken_out_matter(make_model, tokens_for):
    model = make_model(4, n_ctx=14)
    tokens = tokens_for(model, batch=3, pos=4)
    every = [(layer, head) for layer in range(2) for head in range(3)]
    assert not torch.equal(continue_greedily(model, tokens, 9, every), continue_greedily(model, tokens, 9))


def test_what_cannot_be_continued(make_model, make_transformer, tokens_for):
    model = make_model()
    tokens = tokens_for(model, pos=5)
    assert continue_greedily(model, tokens, 4).shape == (2, 4)
    with pytest.raises(CourseError, match="the length is 10.*from 1 to 9.*Remedy:"):
        continue_greedily(model, tokens, 5)
    with pytest.raises(CourseError, match=r"ablated\[0\]\[1\] is 3.*Remedy:"):
        continue_greedily(model, tokens, 1, [(0, 3)])
    for other in (make_transformer(positions="stream"), make_model(smeared_keys=True)):
        with pytest.raises(CourseError, match="positions in the stream or smeared keys.*Remedy:"):
            continue_greedily(other, tokens, 1)
