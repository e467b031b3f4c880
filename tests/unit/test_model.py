"""The identities of the model: what the course derives on paper holds in the code."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_utils.config import ModelConfig
from course_utils.model import AttentionOnlyTransformer

EXACT = {"rtol": 1e-10, "atol": 1e-10}
DATA = given(data=st.data(), seed=st.integers(0, 999))


@pytest.fixture(scope="session")
def drawn(make_model, model_sizes, tokens_for):
    """A function that lets hypothesis draw a model and tokens for it."""

    def draw(data, seed, **fixed):
        model = make_model(seed, **data.draw(model_sizes) | fixed)
        return model, tokens_for(model, seed)

    return draw


def naive(model, tokens):
    """Logits and patterns [layer][head][query, key] of one row of tokens, by loops and from the paper's definitions."""
    w = {name: weight.numpy() for name, weight in model.named_parameters()}
    stream = [w["W_E"][t].copy() for t in tokens.tolist()]
    patterns = []
    for layer in range(model.cfg.n_layers):
        written = [np.zeros(model.cfg.d_model) for _ in stream]
        patterns.append(np.zeros((model.cfg.n_heads, len(stream), len(stream))))
        for head in range(model.cfg.n_heads):
            for i in range(len(stream)):
                query = (stream[i] + w["W_pos"][i]) @ w["W_Q"][layer, head]
                keys = [(stream[j] + w["W_pos"][j]) @ w["W_K"][layer, head] for j in range(i + 1)]
                if model.cfg.smeared_keys:
                    own = 1 / (1 + math.exp(-w["smear"][layer, head]))
                    keys = [own * key + (1 - own) * keys[max(0, j - 1)] for j, key in enumerate(keys)]
                scores = [query @ key / math.sqrt(model.cfg.d_head) for key in keys]
                weights = [math.exp(score - max(scores)) for score in scores]
                for j in range(i + 1):
                    patterns[layer][head, i, j] = weights[j] / sum(weights)
                    value = stream[j] @ w["W_V"][layer, head]
                    written[i] += patterns[layer][head, i, j] * (value @ w["W_O"][layer, head])
        stream = [x + update for x, update in zip(stream, written, strict=True)]
    return np.array([x @ w["W_U"] for x in stream]), patterns


@DATA
def test_both_paths_equal_attention_written_with_loops(drawn, data, seed):
    model, tokens = drawn(data, seed)
    by_cache, cache = model.run_with_cache(tokens)
    by_forward = model(tokens)
    for row in range(len(tokens)):
        logits, patterns = naive(model, tokens[row])
        np.testing.assert_allclose(by_forward[row], logits, **EXACT)
        np.testing.assert_allclose(by_cache[row], logits, **EXACT)
        for layer, pattern in enumerate(patterns):
            np.testing.assert_allclose(cache.pattern[layer, row], pattern, **EXACT)


def test_smeared_keys_are_mixed_with_the_key_before(make_model, tokens_for):
    model, plain = make_model(1, smeared_keys=True), make_model(1)
    assert "smear" not in plain.state_dict() and model.smear.shape == (2, 3)
    model.smear.copy_(torch.linspace(-3, 3, 6).view(2, 3))
    tokens = tokens_for(model)
    logits, patterns = naive(model, tokens[0])
    by_cache, cache = model.run_with_cache(tokens)
    np.testing.assert_allclose(by_cache[0], logits, **EXACT)
    np.testing.assert_allclose(model(tokens)[0], logits, **EXACT)
    np.testing.assert_allclose(cache.pattern[1, 0], patterns[1], **EXACT)
    model.smear.fill_(50)  # all of a key is its own
    torch.testing.assert_close(model(tokens), plain(tokens), **EXACT)


def test_both_paths_agree_in_float32_at_the_size_of_the_shipped_models():
    model = AttentionOnlyTransformer.init(ModelConfig(d_vocab=64), seed=1)
    tokens = torch.randint(64, (2, 256), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(model(tokens), model.run_with_cache(tokens)[0], rtol=0, atol=1e-4)


@DATA
def test_the_stream_is_the_sum_of_what_was_written(drawn, data, seed):
    model, tokens = drawn(data, seed)
    cfg = model.cfg
    logits, cache = model.run_with_cache(tokens)
    stream = model.W_E[tokens]
    torch.testing.assert_close(cache.resid[0], stream, rtol=0, atol=0)
    for layer in range(cfg.n_layers):
        stream = stream + sum(cache.head_out(layer, head) for head in range(cfg.n_heads))
        torch.testing.assert_close(cache.resid[layer + 1], stream, **EXACT)
    torch.testing.assert_close(model.stream(tokens), stream, **EXACT)
    torch.testing.assert_close(stream @ model.W_U, logits, **EXACT)


@DATA
def test_what_the_cache_holds_has_the_documented_shapes(drawn, data, seed):
    model, tokens = drawn(data, seed)
    cfg, (batch, pos) = model.cfg, tokens.shape
    logits, cache = model.run_with_cache(tokens)
    assert logits.shape == model(tokens).shape == (batch, pos, cfg.d_vocab)
    assert cache.pattern.shape == (cfg.n_layers, batch, cfg.n_heads, pos, pos)
    assert cache.z.shape == (cfg.n_layers, batch, cfg.n_heads, pos, cfg.d_head)
    assert cache.resid.shape == (cfg.n_layers + 1, batch, pos, cfg.d_model)
    shapes = {name: tuple(weight.shape) for name, weight in model.named_parameters()}
    read, write = (
        (cfg.n_layers, cfg.n_heads, cfg.d_model, cfg.d_head),
        (cfg.n_layers, cfg.n_heads, cfg.d_head, cfg.d_model),
    )
    assert shapes == {
        "W_E": (cfg.d_vocab, cfg.d_model), "W_pos": (cfg.n_ctx, cfg.d_model), "W_Q": read, "W_K": read, "W_V": read,
        "W_O": write, "W_U": (cfg.d_model, cfg.d_vocab),
    }  # fmt: skip


@DATA
def test_patterns_are_causal_and_each_row_sums_to_one(drawn, data, seed):
    model, tokens = drawn(data, seed)
    pattern = model.run_with_cache(tokens)[1].pattern
    assert (pattern.triu(1) == 0).all()
    assert (pattern >= 0).all()
    torch.testing.assert_close(pattern.sum(-1), torch.ones_like(pattern.sum(-1)), **EXACT)


@DATA
def test_rotating_the_stream_changes_nothing(drawn, data, seed):
    model, tokens = drawn(data, seed)
    logits, cache = model.run_with_cache(tokens)
    generator = torch.Generator().manual_seed(seed)
    size = model.cfg.d_model
    R = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64)).Q
    rotated = AttentionOnlyTransformer(model.cfg).double().requires_grad_(False)
    for name in ("W_E", "W_pos", "W_O"):  # what writes into the stream
        getattr(rotated, name).copy_(getattr(model, name) @ R)
    for name in ("W_Q", "W_K", "W_V", "W_U"):  # what reads from it
        getattr(rotated, name).copy_(R.T @ getattr(model, name))
    turned_logits, turned = rotated.run_with_cache(tokens)
    torch.testing.assert_close(turned.resid, cache.resid @ R, **EXACT)
    torch.testing.assert_close(turned.pattern, cache.pattern, **EXACT)
    torch.testing.assert_close(turned_logits, logits, **EXACT)
    torch.testing.assert_close(rotated(tokens), logits, **EXACT)


@pytest.mark.parametrize("run", [lambda m, t: m(t), lambda m, t: m.run_with_cache(t)[0]], ids=["forward", "cache"])
def test_positions_act_through_patterns_alone(make_model, tokens_for, run):
    model = make_model(n_layers=3)
    tokens = tokens_for(model)
    before = run(model, tokens)
    positions = model.W_pos.clone()
    model.W_pos += torch.randn_like(positions)
    assert (run(model, tokens) - before).abs().max() > 0.01  # positions do matter
    for blind in (model.W_Q, model.W_K):  # every score is 0 now, wherever the tokens stand
        kept = blind.clone()
        blind.zero_()
        elsewhere = run(model, tokens)
        model.W_pos.copy_(positions)
        torch.testing.assert_close(run(model, tokens), elsewhere, **EXACT)
        model.W_pos += torch.randn_like(positions)
        blind.copy_(kept)


@DATA
def test_zero_layers_are_a_table_of_bigrams(drawn, data, seed):
    model, tokens = drawn(data, seed, n_layers=0)
    torch.testing.assert_close(model(tokens), (model.W_E @ model.W_U)[tokens], **EXACT)
    torch.testing.assert_close(model.run_with_cache(tokens)[0], (model.W_E @ model.W_U)[tokens], **EXACT)


@DATA
def test_later_tokens_never_change_earlier_logits(drawn, data, seed):
    model, tokens = drawn(data, seed)
    whole = model(tokens)
    first = data.draw(st.integers(1, tokens.shape[1]))
    torch.testing.assert_close(model(tokens[:, :first]), whole[:, :first], **EXACT)
    torch.testing.assert_close(model.run_with_cache(tokens[:, :first])[0], whole[:, :first], **EXACT)
    changed = tokens.clone()
    changed[:, first:] = (changed[:, first:] + 1) % model.cfg.d_vocab
    torch.testing.assert_close(model(changed)[:, :first], whole[:, :first], **EXACT)


def test_an_earlier_token_does_change_later_logits(make_model, tokens_for):
    model = make_model(n_layers=1)
    tokens = tokens_for(model)
    changed = tokens.clone()
    changed[:, 0] = (changed[:, 0] + 1) % model.cfg.d_vocab
    assert ((model(changed) - model(tokens))[:, 1:].abs().amax(-1) > 1e-6).all()


def test_scores_are_products_of_queries_and_keys_over_the_root_of_d_head(make_model, tokens_for):
    model = make_model(d_head=7)
    x = model.W_E[tokens_for(model)]
    scores = model.attention_scores(x, layer=1)
    batch, head, query, key = 1, 2, 5, 3
    q = (x[batch, query] + model.W_pos[query]) @ model.W_Q[1, head]
    k = (x[batch, key] + model.W_pos[key]) @ model.W_K[1, head]
    assert scores[batch, head, query, key].item() == pytest.approx((q @ k).item() / 7**0.5, abs=1e-12)
    assert (scores[batch, head, key, key + 1 :] == float("-inf")).all()


def test_rows_of_a_batch_do_not_touch_each_other(make_model, tokens_for):
    model = make_model()
    tokens = tokens_for(model, batch=4)
    alone = torch.cat([model(row[None]) for row in tokens])
    torch.testing.assert_close(model(tokens), alone, **EXACT)


def test_the_seed_alone_decides_the_weights_drawn_on_the_cpu():
    cfg = ModelConfig(n_layers=1, n_heads=2, d_model=8, d_head=4, d_vocab=10, n_ctx=5)
    torch.manual_seed(1)
    first = AttentionOnlyTransformer.init(cfg, seed=5)
    torch.manual_seed(2)
    again = AttentionOnlyTransformer.init(cfg, seed=5)
    other = AttentionOnlyTransformer.init(cfg, seed=6)
    for name, weight in first.named_parameters():
        assert weight.device.type == "cpu" and weight.dtype == torch.float32
        assert torch.equal(weight, dict(again.named_parameters())[name]), name
        assert not torch.equal(weight, dict(other.named_parameters())[name]), name
    # The first draw of the CPU's generator is the embedding, with a spread of one half.
    W_E = torch.empty(10, 8).normal_(0, 0.5, generator=torch.Generator("cpu").manual_seed(5))
    assert torch.equal(first.W_E, W_E)


def test_integer_types_of_ids_make_no_difference(make_model, tokens_for):
    model = make_model()
    tokens = tokens_for(model)
    for dtype in (torch.int32, torch.int16, torch.uint8):
        torch.testing.assert_close(model(tokens.to(dtype)), model(tokens), rtol=0, atol=0)


# --- edits ---


def replace(place, layer, new):
    """An edit that puts `new` in one place."""
    return lambda name, value, at, cache: new if (name, at) == (place, layer) else value


def test_an_edit_is_shown_every_tensor_of_the_run_in_order(make_model, tokens_for):
    model, seen = make_model(), []
    tokens = tokens_for(model)
    B, P, H, D = *tokens.shape, model.cfg.n_heads, model.cfg.d_head
    logits, _ = model.run_with_cache(
        tokens, lambda *given: seen.append((given[0], given[2], given[1].shape)) or given[1]
    )
    assert [(name, layer) for name, layer, _ in seen] == [
        (name, layer) for layer in range(2) for name in ("resid", "q", "k", "v", "pattern", "z")
    ] + [("resid", 2)]
    shapes = {"resid": (B, P, model.cfg.d_model), "pattern": (B, H, P, P)}
    assert all(shape == shapes.get(name, (B, H, P, D)) for name, _, shape in seen)
    torch.testing.assert_close(logits, model(tokens), **EXACT)


@pytest.mark.parametrize("place", ["resid", "q", "k", "v", "pattern", "z"])
def test_what_an_edit_puts_in_one_place_is_what_the_run_goes_on_with(make_model, tokens_for, place):
    model = make_model()
    tokens, other = tokens_for(model), tokens_for(model, seed=5)
    kept = {}
    model.run_with_cache(other, lambda name, value, at, cache: kept.setdefault((name, at), value))
    logits, cache = model.run_with_cache(tokens, replace(place, 1, kept[place, 1]))

    x = model.run_with_cache(tokens)[1].resid[1]  # by hand, from the layer that is edited on
    x = kept["resid", 1] if place == "resid" else x
    q, k, v = (kept[s, 1] if place == s else model.read(x, 1, s) for s in "qkv")
    pattern = kept["pattern", 1] if place == "pattern" else model.scores(q, k).softmax(-1)
    z = kept["z", 1] if place == "z" else pattern @ v
    x = x + sum(z[:, h] @ model.W_O[1, h] for h in range(model.cfg.n_heads))
    torch.testing.assert_close(logits, x @ model.W_U, **EXACT)
    torch.testing.assert_close(cache.resid[-1], x, **EXACT)
    torch.testing.assert_close(cache.pattern[1], pattern, **EXACT)
    assert (logits - model(tokens)).abs().max() > 1e-3  # something was replaced


def test_edits_are_made_in_their_order_and_see_the_heads_before(make_model, tokens_for):
    model = make_model()
    tokens = tokens_for(model)

    def double(name, value, layer, cache):
        return 2 * value if (name, layer) == ("z", 0) else value

    def without_head_0(name, value, layer, cache):  # of layer 0, whose z was doubled before
        return value - cache.head_out(0, 0) if (name, layer) == ("resid", 1) else value

    logits, cache = model.run_with_cache(tokens, [double, without_head_0])
    z = 2 * model.run_with_cache(tokens)[1].z[0]
    want = model.embed(tokens) + model.write(z, 0) - z[:, 0] @ model.W_O[0, 0]
    torch.testing.assert_close(cache.resid[1], want, **EXACT)
    torch.testing.assert_close(cache.z[0], z, **EXACT)


def test_activation_patching_in_a_dozen_lines(make_model, tokens_for):
    """What one head put out on another text, put into this run: all heads of a layer at once give its stream."""
    model = make_model()
    tokens, other = tokens_for(model), tokens_for(model, seed=5)
    source = model.run_with_cache(other)[1]

    def patch(heads):
        def edit(name, value, layer, cache):
            for at, head in heads:
                if (name, layer) == ("z", at):
                    value[:, head] = source.z[at, :, head]
            return value

        return model.run_with_cache(tokens, edit)[1]

    everything = patch([(0, head) for head in range(model.cfg.n_heads)])
    torch.testing.assert_close(everything.resid[1] - everything.resid[0], source.resid[1] - source.resid[0], **EXACT)
    one = patch([(0, 1)])
    torch.testing.assert_close(one.head_out(0, 1), source.head_out(0, 1), **EXACT)
    assert not torch.allclose(one.head_out(0, 0), source.head_out(0, 0))


def test_what_a_head_reads_is_linear_in_the_parts_of_the_stream(make_model, tokens_for):
    for smeared_keys in (False, True):
        model = make_model(smeared_keys=smeared_keys)
        cache = model.run_with_cache(tokens_for(model))[1]
        parts = [cache.resid[0], *(cache.head_out(0, h) for h in range(model.cfg.n_heads))]
        for side in "qkv":
            whole = model.read(cache.resid[1], 1, side)
            position = model.read(0 * cache.resid[1], 1, side)
            apart = [model.read(part, 1, side, part_of=cache.resid[1]) for part in parts]
            torch.testing.assert_close(sum(apart) + position, whole, **EXACT)
            torch.testing.assert_close(
                model.read(torch.stack(parts), 1, side, part_of=cache.resid[1]), torch.stack(apart), **EXACT
            )
