"""Causal scrubbing, on a small model: what is kept, what is replaced, and what the shares mean."""

import json

import numpy as np
import pytest
import torch

from course_utils import causal_scrubbing as scrubbing
from course_utils import corpus
from course_utils.causal_scrubbing import ladder, partners, recovered_share, scrub, share_interval, summed_losses
from course_utils.checks.base import drawn_tokens, small_model
from course_utils.config import ModelConfig
from course_utils.errors import CourseError
from course_utils.losses import token_losses
from tools import scrubbing as tool

CFG = ModelConfig(n_layers=2, n_heads=3, d_model=14, d_head=5, d_vocab=17, n_ctx=16)
EVERYTHING = {side: ["everything"] for side in "qkv"}


@pytest.fixture
def model():
    return small_model(CFG, 0, W_O=4)


@pytest.fixture
def tokens():
    return torch.nn.functional.pad(drawn_tokens(17, (5, 9), 1), (1, 0))


def test_nobody_is_his_own_partner_and_everybody_is_one():
    for n in (2, 3, 7, 60):
        for seed in range(3):
            order = partners(n, seed)
            assert sorted(order.tolist()) == list(range(n)) and (order != torch.arange(n)).all()
    assert not torch.equal(partners(60, 0), partners(60, 1))


def test_keeping_everything_changes_nothing_and_keeping_nothing_is_another_text(model, tokens):
    order = partners(5, 3)
    logits, cache = model.run_with_cache(tokens)
    kept, _ = model.run_with_cache(tokens, scrub(model, [0, 2], EVERYTHING, order))
    assert torch.allclose(kept, logits, atol=1e-12)
    _, scrubbed = model.run_with_cache(tokens, scrub(model, [0, 2], {}, order))
    assert torch.allclose(scrubbed.z[1][:, [0, 2]], cache.z[1][order][:, [0, 2]], atol=1e-12)
    assert torch.allclose(scrubbed.z[1][:, 1], cache.z[1][:, 1], atol=1e-12)  # the other head is left alone
    assert torch.allclose(scrubbed.z[0], cache.z[0], atol=1e-12)


def test_each_side_keeps_its_own_parts(model, tokens):
    """By another route: the stream that each side reads is put together by hand, and the head computed from it."""
    order, head = partners(5, 4), 1
    _, cache = model.run_with_cache(tokens)
    parts = {"token": cache.resid[0]} | {h: cache.head_out(0, h) for h in range(3)}
    kept = {"q": ["token"], "k": [2, 0], "v": []}
    _, run = model.run_with_cache(tokens, scrub(model, [head], kept, order))
    sides = {}
    for side, names in kept.items():
        x = sum(part if name in names else part[order] for name, part in parts.items())
        x = x + model.W_pos[:10] if side != "v" else x
        sides[side] = x @ getattr(model, f"W_{side.upper()}")[1, head]
    pattern = model.scores(sides["q"], sides["k"]).softmax(-1)
    assert torch.allclose(run.pattern[1][:, head], pattern, atol=1e-12)
    assert torch.allclose(run.z[1][:, head], pattern @ sides["v"], atol=1e-12)


def test_the_mean_over_texts_or_zero_in_place_of_another_text(model, tokens):
    x = model.run_with_cache(tokens)[1].resid[1]
    for instead, rest in (("mean", x - model.embed(tokens)), ("zero", None)):
        kept = {"v": ["token"]}
        _, run = model.run_with_cache(tokens, scrub(model, [2], kept, partners(5), instead=instead))
        x_v = model.embed(tokens) + (0 if rest is None else rest.mean(0))
        assert torch.allclose(run.z[1][:, 2], run.pattern[1][:, 2] @ x_v @ model.W_V[1, 2], atol=1e-12)


def test_only_predictions_that_are_counted_count(model, tokens):
    counted = torch.zeros_like(tokens, dtype=torch.bool)
    counted[1, 3] = counted[4, 0] = counted[4, 9] = True  # the last position predicts nothing
    each = token_losses(model(tokens), tokens)
    want = torch.tensor([0, each[1, 3], 0, 0, each[4, 0]], dtype=torch.float64)
    assert torch.allclose(summed_losses(model, tokens, counted), want)


def test_a_ladder_has_the_ends_and_the_mean_over_draws(model, tokens):
    counted = torch.ones_like(tokens, dtype=torch.bool)
    found = ladder(model, tokens, counted, [1], {"all": EVERYTHING, "token": {"k": ["token"]}}, resamples=2, seed=5)
    assert list(found) == ["whole", "all scrubbed", "all", "token"]
    assert torch.allclose(found["all"], found["whole"])
    each = [
        summed_losses(model, tokens, counted, scrub(model, [1], {"k": ["token"]}, partners(5, seed))) for seed in (5, 6)
    ]
    assert torch.allclose(found["token"], (each[0] + each[1]) / 2) and not torch.allclose(*each)


def test_shares_and_their_interval():
    whole, scrubbed = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([3.0, 4.0, 7.0])
    assert recovered_share(whole, scrubbed, whole) == 1 and recovered_share(whole, scrubbed, scrubbed) == 0
    rung = torch.tensor([2.0, 3.0, 6.0])  # 3 of 8
    assert recovered_share(whole, scrubbed, rung) == pytest.approx(3 / 8)
    low, high = share_interval(whole, scrubbed, rung)
    assert 1 / 4 <= low < 3 / 8 < high <= 1 / 2  # the texts' own shares: 1/2, 1/2, 1/4
    assert share_interval(whole, scrubbed, whole) == (1, 1)


def test_a_part_that_there_is_not_is_told(model):
    for part in ("tokens", 3, -1, 1.5):
        with pytest.raises(CourseError, match="'token', 'everything' or the number of a head"):
            scrub(model, [0], {"q": [part]}, partners(5))


def test_the_command_goes_on_where_it_was_cut_off(model, tokens, tmp_path, monkeypatch):
    monkeypatch.setattr(tool, "DRAWS", 2)
    monkeypatch.setattr(tool, "RUNGS", {"all scrubbed": {}, "story": {"q": ["token"], "k": [1], "v": ["everything"]}})
    counted, kept = torch.ones_like(tokens, dtype=torch.bool), tmp_path / "kept.json"
    whole = tool.drawn(model, [0], "text", tokens, counted, kept)
    assert {name: len(rows) for name, rows in whole.items()} == {
        "whole": 1,
        "all scrubbed": 2,
        "story": 2,
        "counted": 5,
    }
    calls = []
    real = scrubbing.summed_losses
    monkeypatch.setattr(tool, "summed_losses", lambda *given: calls.append(1) or real(*given))
    done = tool.json.loads(kept.read_text())
    done["text"]["story"].pop()
    kept.write_text(tool.json.dumps(done))
    assert tool.drawn(model, [0], "text", tokens, counted, kept) == whole and len(calls) == 1


def test_each_text_of_the_command_is_of_a_document_of_its_own():
    tokens, counted = tool.of("text")
    assert tokens.shape == counted.shape == (60, 256) and len(tokens.unique(dim=0)) == 60
    repeats, second = tool.of("random repeats")
    assert len(repeats) == 60 and 40 * 60 < second.sum() < 100 * 60


@pytest.mark.release
def test_the_whole_ladder_comes_out_again(tmp_path, monkeypatch):
    """Every rung, text and draw of the record that chapter 9 claims, computed anew by the command."""
    kept = tmp_path / "kept.json"
    monkeypatch.setattr("sys.argv", ["scrubbing", "--out", str(tmp_path), "--kept", str(kept), "--threads", "2"])
    tool.main()
    fresh, recorded = (json.loads((folder / tool.NAME).read_text("utf-8")) for folder in (tmp_path, corpus.DATA))
    for source, rungs in recorded["losses"].items():
        for name, rows in rungs.items():
            # sums over some hundred predictions, in 32 bits
            assert np.abs(np.array(fresh["losses"][source].pop(name)) - rows).max() < 0.05, (source, name)
    assert not any(fresh.pop("losses").values())
    assert fresh == {name: value for name, value in recorded.items() if name != "losses"}
