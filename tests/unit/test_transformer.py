"""The transformer with what the paper leaves out put back, against a second one, written plainly from definitions."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.autograd.functional import jvp

from course_utils import checkpoints, circuits, interventions, losses
from course_utils.config import PUT_BACK, RECIPES, ModelConfig, TransformerConfig
from course_utils.errors import CourseError
from course_utils.model import AttentionOnlyTransformer
from course_utils.transformer import Transformer, class_of, fold_norms, rotated

EXACT = {"rtol": 1e-10, "atol": 1e-10}
KEPT = ("pattern", "z", "resid", "resid_mid")


class Plain:
    """The forward of one row of tokens, head by head, with heads ablated and paths cut, each written out.

    It keeps `logits`, `patterns` and `heads` (what each adds to the stream) by (layer, head), `streams` and `mlps`.
    """

    def __init__(self, model, tokens, ablated=(), paths=()):
        self.cfg, self.w = model.cfg, dict(model.named_parameters())
        cfg, w = self.cfg, self.w
        self.patterns, self.heads, self.streams, self.mlps = {}, {}, [], []
        self.places = w["W_pos"][: len(tokens)] if cfg.positions != "rotary" else None
        x = w["W_E"][tokens] + (self.places if cfg.positions == "stream" else 0)
        for layer in range(cfg.n_layers):
            self.streams.append(x)
            for head in range(cfg.n_heads):
                q, k, v = (self.side(side, x, layer, head, paths) for side in "QKV")
                allowed = torch.ones(len(tokens), len(tokens)).tril().bool()
                weights = torch.where(allowed, (q @ k.T / cfg.d_head**0.5).exp(), 0)
                self.patterns[layer, head] = weights / weights.sum(1, keepdim=True)
                written = self.patterns[layer, head] @ v @ w["W_O"][layer, head]
                self.heads[layer, head] = 0 * written if (layer, head) in ablated else written
            x = x + sum(self.heads[layer, head] for head in range(cfg.n_heads))
            x = x + w["b_O"][layer] if cfg.biases else x
            if cfg.mlp != "none":
                self.mlps.append(self.mlp(x, layer))
                x = x + self.mlps[-1]
        self.streams.append(x)
        self.logits = self.norm(x, "ln_final") @ w["W_U"] + (w["b_U"] if cfg.biases else 0)

    def side(self, side, x, layer, head, paths):
        """A head's queries, keys or values, less what comes by the paths that are cut."""
        added = self.places if self.cfg.positions == "read" and side != "V" else torch.zeros(self.cfg.d_model).double()
        out = self.norm(x + added, "ln1", layer) @ self.w[f"W_{side}"][layer, head]
        out = out + self.w[f"b_{side}"][layer, head] if self.cfg.biases else out
        for earlier, later, which in paths:
            if (later, which) == ((layer, head), side):
                part = self.part_of(self.heads[earlier], x + added, "ln1", layer)
                out = out - part @ self.w[f"W_{side}"][layer, head]
        if side == "K" and self.cfg.smeared_keys:
            own = self.w["smear"][layer, head].sigmoid()
            out = torch.stack([own * key + (1 - own) * out[max(0, j - 1)] for j, key in enumerate(out)])
        if self.cfg.positions == "rotary" and side != "V":
            out = torch.stack([row @ turn(self.cfg, place) for place, row in enumerate(out)])
        return out

    def norm(self, x, name, layer=None):
        if self.cfg.norm == "none":
            return x
        w, b = (self.w.get(f"{name}_{kind}") for kind in "wb")
        w, b = (each if each is None or layer is None else each[layer] for each in (w, b))
        if self.cfg.norm == "layer":
            return F.layer_norm(x, x.shape[-1:], w, b, self.cfg.norm_eps)
        return x / (x.square().sum(-1, keepdim=True) / x.shape[-1] + self.cfg.norm_eps).sqrt() * w

    def part_of(self, part, whole, name, layer):
        """What a part of the stream gives after the norm, whose scale is the whole's."""
        if self.cfg.norm == "none":
            return part
        size = whole.shape[-1]
        flat = torch.eye(size, dtype=whole.dtype) - (1 / size if self.cfg.norm == "layer" else 0)
        scale = ((whole @ flat).square().sum(-1) / size + self.cfg.norm_eps).sqrt()
        return part @ flat @ torch.diag(self.w[f"{name}_w"][layer]) / scale[:, None]

    def mlp(self, x, layer):
        read, cfg, w = self.norm(x, "ln2", layer), self.cfg, self.w
        post = 0
        for neuron in range(cfg.d_mlp):
            pre = read @ w["W_in"][layer, :, neuron] + (w["b_in"][layer, neuron] if cfg.biases else 0)
            if cfg.mlp == "gated":
                gate = read @ w["W_gate"][layer, :, neuron] + (w["b_gate"][layer, neuron] if cfg.biases else 0)
                active = gate * gate.sigmoid() * pre
            else:
                active = pre * (1 + torch.erf(pre / 2**0.5)) / 2
            post = post + active[:, None] * w["W_out"][layer, neuron]
        return post + w["b_out"][layer] if cfg.biases else post


def turn(cfg, place):
    """The rotation by a position, as a matrix for rows."""
    angles = [place * cfg.rotary_base ** (-2 * pair / cfg.d_head) for pair in range(cfg.d_head // 2)]
    blocks = [[[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]] for angle in angles]
    return torch.block_diag(*torch.tensor(blocks, dtype=torch.float64))


def parts_of(model, cache, layer):
    """The stream before a layer as the parts that were written into it, biases among them."""
    parts = [cache.resid[0]]
    for below in range(layer):
        parts += [cache.head_out(below, head) for head in range(model.cfg.n_heads)]
        parts += [model.b_O[below].expand_as(parts[0])] if model.cfg.biases else []
        parts += [cache.mlp_out(below)] if model.cfg.mlp != "none" else []
    return parts


# --- the forward ---


def test_without_anything_put_back_it_is_the_attention_only_transformer():
    sizes = {"n_layers": 2, "n_heads": 3, "d_model": 12, "d_head": 4, "d_vocab": 17, "n_ctx": 9}
    ours, plain = (
        Transformer.init(TransformerConfig(**sizes), 5),
        AttentionOnlyTransformer.init(ModelConfig(**sizes), 5),
    )
    assert list(ours.state_dict()) == list(plain.state_dict())
    assert all(torch.equal(ours.state_dict()[name], weight) for name, weight in plain.state_dict().items())
    tokens = torch.arange(9)[None]
    with torch.no_grad():
        assert torch.equal(ours(tokens), plain(tokens))
        (mine, cache), (logits, other) = ours.run_with_cache(tokens), plain.run_with_cache(tokens)
    assert torch.equal(mine, logits) and cache.resid_mid is None
    assert all(torch.equal(getattr(cache, name), getattr(other, name)) for name in KEPT[:3])


def test_both_ways_through_are_the_forward_written_plainly(make_transformer, tokens_for, put_back):
    model = make_transformer(1, **put_back)
    tokens = tokens_for(model)
    logits, cache = model.run_with_cache(tokens)
    torch.testing.assert_close(model(tokens), logits, **EXACT)
    for row in range(len(tokens)):
        plain = Plain(model, tokens[row])
        torch.testing.assert_close(logits[row], plain.logits, **EXACT)
        for (layer, head), pattern in plain.patterns.items():
            torch.testing.assert_close(cache.pattern[layer, row, head], pattern, **EXACT)
            torch.testing.assert_close(cache.head_out(layer, head)[row], plain.heads[layer, head], **EXACT)
        torch.testing.assert_close(cache.resid[:, row], torch.stack(plain.streams), **EXACT)
        for layer, mlp in enumerate(plain.mlps):
            torch.testing.assert_close(cache.mlp_out(layer)[row], mlp, **EXACT)


def test_each_setting_changes_what_the_model_computes(make_transformer, tokens_for, put_back):
    if put_back:
        model = make_transformer(1, **put_back)
        tokens = tokens_for(model)
        assert (model(tokens) - make_transformer(1)(tokens)).abs().max() > 1e-2


def test_the_stream_is_the_sum_of_what_was_written(make_transformer, tokens_for, put_back):
    model = make_transformer(2, n_layers=3, **put_back)
    tokens = tokens_for(model)
    logits, cache = model.run_with_cache(tokens)
    first = model.W_E[tokens] + (model.W_pos if model.cfg.positions == "stream" else 0)
    torch.testing.assert_close(cache.resid[0], first, rtol=0, atol=0)
    for layer in range(4):
        torch.testing.assert_close(sum(parts_of(model, cache, layer)), cache.resid[layer], **EXACT)
    torch.testing.assert_close(model.stream(tokens), cache.resid[-1], **EXACT)
    torch.testing.assert_close(model.unembed(cache.resid[-1]), logits, **EXACT)
    assert (cache.resid_mid is None) == (model.cfg.mlp == "none")


def test_later_tokens_never_change_earlier_logits(make_transformer, tokens_for, put_back):
    model = make_transformer(3, **put_back)
    tokens = tokens_for(model)
    torch.testing.assert_close(model(tokens[:, :5]), model(tokens)[:, :5], **EXACT)


def test_a_run_from_a_later_layer_on_goes_on_from_its_stream(make_transformer, tokens_for, put_back):
    model = make_transformer(3, n_layers=3, **put_back)
    cache, seen = model.run_with_cache(tokens_for(model))[1], []

    def see(name, value, layer):
        seen.append((name, layer))
        return value

    for first in range(4):
        torch.testing.assert_close(
            model.run(cache.resid[first], model._attend_fast, see, first), cache.resid[3], **EXACT
        )  # fmt: skip
        assert seen[0] == ("resid", first)
        seen.clear()


def test_neurons_are_written_one_by_one(make_transformer, tokens_for):
    model = make_transformer(4, **PUT_BACK["all"])
    seen = {}
    cache = model.run_with_cache(
        tokens_for(model), lambda name, value, layer, _: seen.setdefault((name, layer), value)
    )[1]
    post = seen["post", 1]
    torch.testing.assert_close(post, model.neurons(cache.resid_mid[1], 1), **EXACT)
    torch.testing.assert_close(post, F.gelu(model.pre_activations(cache.resid_mid[1], 1)), **EXACT)
    written = torch.stack([post[..., n, None] * model.W_out[1, n] for n in range(model.cfg.d_mlp)])
    torch.testing.assert_close(written.sum(0) + model.b_out[1], cache.mlp_out(1), **EXACT)


# --- what a part of the stream contributes ---


def test_what_is_read_is_the_sum_over_the_parts_of_the_stream(make_transformer, tokens_for, put_back):
    model = make_transformer(5, **put_back)
    logits, cache = model.run_with_cache(tokens_for(model))
    parts, x = parts_of(model, cache, 1), cache.resid[1]
    read_there = model.cfg.positions == "read"
    place = model.W_pos.expand_as(x) if read_there else None
    for side in "qkv":
        apart = [model.read(part, 1, side, part_of=x) for part in parts]
        together = model.read(torch.stack(parts), 1, side, part_of=x)
        torch.testing.assert_close(together, torch.stack(apart), **EXACT)
        torch.testing.assert_close(model.read(-2 * parts[1], 1, side, part_of=x), -2 * apart[1], **EXACT)
        constant = 0 * apart[0]  # biases, the norm's and the head's own
        if model.cfg.biases:
            constant = model.read(0 * x, 1, side)
            if read_there and side != "v":
                constant = constant - model.read(place, 1, side, part_of=0 * x)
        if read_there and side != "v":
            constant = constant + model.read(place, 1, side, part_of=x)
        torch.testing.assert_close(sum(apart) + constant, model.read(x, 1, side), **EXACT)

    parts, x = parts_of(model, cache, 2), cache.resid[2]
    apart = torch.stack([model.unembed(part, part_of=x) for part in parts])
    torch.testing.assert_close(apart, model.unembed(torch.stack(parts), part_of=x), **EXACT)
    constant = 0
    if model.cfg.biases:
        constant = model.b_U + (model.ln_final_b @ model.W_U if model.cfg.norm == "layer" else 0)
    torch.testing.assert_close(apart.sum(0) + constant, logits, **EXACT)

    if model.cfg.mlp != "none":
        x = cache.resid_mid[1]
        parts = [cache.resid[1], x - cache.resid[1]]
        apart = torch.stack([model.pre_activations(part, 1, part_of=x) for part in parts])
        torch.testing.assert_close(apart, model.pre_activations(torch.stack(parts), 1, part_of=x), **EXACT)
        constant = model.pre_activations(0 * x, 1) if model.cfg.biases else 0
        torch.testing.assert_close(apart.sum(0) + constant, model.pre_activations(x, 1), **EXACT)


@pytest.mark.parametrize("norm", ["layer", "rms"])
def test_with_its_scale_held_a_norm_is_its_slope_along_what_leaves_the_scale(make_transformer, tokens_for, norm):
    """A second way to the same: the derivative of the norm in a direction that doesn't change the scale."""
    model = make_transformer(6, norm=norm)
    x = model.W_E[tokens_for(model)]
    part = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    centred = x - x.mean(-1, keepdim=True) if norm == "layer" else x
    part = part - (part * centred).sum(-1, keepdim=True) / (x * centred).sum(-1, keepdim=True) * x
    slope = jvp(lambda x: model.normalised(x, "ln_final"), x, part)[1]
    torch.testing.assert_close(model.normalised(part, "ln_final", part_of=x), slope, **EXACT)


# --- rotary positions ---


def test_rotary_scores_depend_on_the_distance_alone(make_transformer, tokens_for):
    model = make_transformer(7, **PUT_BACK["all"])
    x = model.run_with_cache(tokens_for(model))[1].resid[1]
    here, there = (model.scores(*(model.read(x, 1, side, first=first) for side in "qk")) for first in (0, 5))
    torch.testing.assert_close(here, there, **EXACT)
    shifted = model.scores(model.read(x, 1, "q", first=1), model.read(x, 1, "k"))
    assert not torch.allclose(here, shifted, atol=1e-3)
    torch.testing.assert_close(model.read(x, 1, "v", first=5), model.read(x, 1, "v"), rtol=0, atol=0)


def test_a_rotation_changes_directions_and_no_lengths():
    x = torch.randn(2, 7, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    turned = rotated(x, 100.0, first=3)
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1), **EXACT)
    pairs = lambda x: x.unflatten(-1, (5, 2)).norm(dim=-1)  # noqa: E731
    torch.testing.assert_close(pairs(turned), pairs(x), **EXACT)
    torch.testing.assert_close(rotated(x, 100.0)[:, 0], x[:, 0], rtol=0, atol=0)  # position 0 is not turned
    assert not torch.allclose(turned, x)
    ones = torch.tensor([[1.0, 0, 1, 0]] * 2).double()  # the first pair by one radian a position, the second by less
    want = torch.tensor([math.cos(1), math.sin(1), math.cos(0.1), math.sin(0.1)], dtype=torch.float64)
    torch.testing.assert_close(rotated(ones, 100.0)[1], want, **EXACT)
    assert rotated(x.float(), 1e5).dtype == torch.float32


def test_positions_read_and_rotated_begin_where_they_are_said_to(make_transformer, tokens_for, put_back):
    model = make_transformer(8, **put_back)
    if model.cfg.smeared_keys:  # a key needs the one before it
        return
    x = model.W_E[tokens_for(model)]
    for side in "qkv":
        apart = [model.read(x[:, :4], 0, side), model.read(x[:, 4:], 0, side, first=4)]
        torch.testing.assert_close(torch.cat(apart, dim=-2), model.read(x, 0, side), **EXACT)


# --- folding ---


def test_folding_norms_changes_no_logit(make_transformer, tokens_for, put_back):
    model = make_transformer(9, **put_back)
    tokens = tokens_for(model)
    logits, cache = model.run_with_cache(tokens)
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    assert fold_norms(model) is model
    folded, after = model.run_with_cache(tokens)
    torch.testing.assert_close(folded, logits, **EXACT)
    torch.testing.assert_close(model(tokens), logits, **EXACT)
    torch.testing.assert_close(after.pattern, cache.pattern, **EXACT)
    torch.testing.assert_close(after.resid, cache.resid, **EXACT)
    for name, weight in model.named_parameters():
        if name.startswith("ln"):
            assert (weight == name.endswith("_w")).all(), name
    for name in ("W_E", "W_O", "b_O", "W_out", "b_out"):
        assert name not in before or torch.equal(getattr(model, name), before[name]), name
    assert torch.equal(model.W_U, before["W_U"]) == (model.cfg.norm == "none")


def test_folding_leaves_an_embedding_that_is_the_unembedding_read_the_other_way(make_transformer, tokens_for):
    model = make_transformer(10, norm="rms", mlp="gated", positions="rotary")
    tokens = tokens_for(model)
    state = model.state_dict() | {"W_U": model.state_dict()["W_E"].T}
    model.load_state_dict(state, assign=True)
    assert model.W_U.data_ptr() == model.W_E.data_ptr()
    logits, W_E = model(tokens), model.W_E.clone()
    fold_norms(model)
    torch.testing.assert_close(model(tokens), logits, **EXACT)
    assert torch.equal(model.W_E, W_E) and not torch.allclose(model.W_U, W_E.T)


def test_only_a_model_with_norms_can_be_folded(make_model):
    with pytest.raises(CourseError, match="model.*Remedy:"):
        fold_norms(make_model())


# --- edits, ablations, cuts ---


def places(model):
    heads = ("resid", "q", "k", "v", "pattern", "z")
    return (*heads, "resid_mid", "post") if model.cfg.mlp != "none" else heads


def test_an_edit_is_shown_every_tensor_of_the_run_in_order(make_transformer, tokens_for, put_back):
    model, seen = make_transformer(**put_back), []
    tokens = tokens_for(model)
    logits, _ = model.run_with_cache(tokens, lambda *given: seen.append((given[0], given[2])) or given[1])
    assert seen == [(name, layer) for layer in range(2) for name in places(model)] + [("resid", 2)]
    torch.testing.assert_close(logits, model(tokens), **EXACT)


def test_what_an_edit_puts_in_one_place_is_what_the_run_goes_on_with(make_transformer, tokens_for, put_back):
    model = make_transformer(11, **put_back)
    tokens, other, kept = tokens_for(model), tokens_for(model, seed=5), {}
    model.run_with_cache(other, lambda name, value, at, cache: kept.setdefault((name, at), value))
    before = model.run_with_cache(tokens)[1]
    for place in places(model):
        new = kept[place, 1]
        edit = lambda name, value, at, cache: new if (name, at) == (place, 1) else value  # noqa: B023, E731
        logits, cache = model.run_with_cache(tokens, edit)
        x = new if place == "resid" else before.resid[1]
        q, k, v = (new if place == side else model.read(x, 1, side) for side in "qkv")
        pattern = new if place == "pattern" else model.scores(q, k).softmax(-1)
        x = x + model.write(new if place == "z" else pattern @ v, 1)
        if model.cfg.mlp != "none":
            x = new if place == "resid_mid" else x
            x = x + model.write_neurons(new if place == "post" else model.neurons(x, 1), 1)
        torch.testing.assert_close(cache.resid[-1], x, **EXACT)
        torch.testing.assert_close(logits, model.unembed(x), **EXACT)
        torch.testing.assert_close(cache.resid[0], before.resid[0], rtol=0, atol=0)
        assert (logits - model(tokens)).abs().max() > 1e-4, place  # something was replaced


def test_heads_taken_out_and_paths_cut_are_those_of_the_plain_forward(make_transformer, tokens_for, put_back):
    model = make_transformer(12, n_layers=3, **put_back)
    tokens, heads = tokens_for(model, 1), [(0, 1), (2, 2)]
    paths = [((0, 0), (1, 2), "K"), ((0, 2), (1, 2), "K"), ((0, 0), (2, 1), "Q"), ((1, 0), (2, 0), "V")]
    logits, cache = interventions.run_without(model, tokens, heads, paths)
    assert (cache.head_out(0, 1) == 0).all() and (cache.head_out(2, 2) == 0).all()
    assert all((cache.head_out(*head) != 0).any() for head in [(0, 0), (1, 1), (2, 0)])
    for row in range(len(tokens)):
        plain = Plain(model, tokens[row], heads, paths)
        torch.testing.assert_close(logits[row], plain.logits, **EXACT)
        torch.testing.assert_close(cache.resid[:, row], torch.stack(plain.streams), **EXACT)
        for (layer, head), pattern in plain.patterns.items():
            torch.testing.assert_close(cache.pattern[layer, row, head], pattern, **EXACT)
    untouched = Plain(model, tokens[0])
    assert (plain.logits - untouched.logits).abs().max() > 1e-3


def test_effects_of_paths_are_those_of_the_plain_forward(make_transformer, tokens_for, put_back):
    model = make_transformer(13, **put_back)
    tokens = tokens_for(model, 2)
    effects, cache = interventions.path_effects(model, tokens), model.run_with_cache(tokens)[1]
    whole = [Plain(model, row) for row in tokens]
    for earlier, later in [((0, 1), (1, 0)), ((0, 2), (1, 2))]:
        place = earlier[1], later[1]
        for side in "QK":
            each = []
            for row, before in zip(tokens, whole, strict=True):
                p, q = before.patterns[later], Plain(model, row, paths=[(earlier, later, side)]).patterns[later]
                each.append(torch.where(p > 0, p * (p / q).log(), 0).sum(-1)[1:].mean())
                alone = interventions.pattern_without(model, cache, later, [earlier], side)[len(each) - 1]
                torch.testing.assert_close(alone, q, **EXACT)
            assert effects[side][place].item() == pytest.approx(torch.stack(each).mean().item(), abs=1e-9), side
        cut = torch.stack([Plain(model, row, paths=[(earlier, later, "V")]).heads[later] for row in tokens])
        out = torch.stack([each.heads[later] for each in whole])
        assert effects["V"][place].item() == pytest.approx(((cut - out).norm() / out.norm()).item(), abs=1e-9)


def test_the_terms_of_a_score_add_up_to_it(make_transformer, tokens_for, put_back):
    model = make_transformer(14, **put_back)
    for name in ("b_Q", "b_K", "ln1_b"):  # what is read is taken apart, biases of reading are no part of it
        if hasattr(model, name):
            getattr(model, name).zero_()
    cache = model.run_with_cache(tokens_for(model))[1]
    parts = circuits.stream_parts(model, cache, 1)
    terms = circuits.score_terms(model, parts, 1, 2)
    want = model.attention_scores(cache.resid[1], 1)[:, 2]
    torch.testing.assert_close(terms.sum((0, 1)).masked_fill(want.isinf(), float("-inf")), want, **EXACT)
    x, names = cache.resid[1], list(parts)
    q, k = model.read(parts["token"], 1, "q", part_of=x)[:, 2], model.read(parts["0.1"], 1, "k", part_of=x)[:, 2]
    torch.testing.assert_close(terms[0, names.index("0.1")], q @ k.mT / model.cfg.d_head**0.5, **EXACT)


def test_the_loss_of_the_final_stream_is_the_loss(make_transformer, tokens_for, put_back):
    model = make_transformer(15, **put_back)
    tokens = tokens_for(model, 4, batch=5)
    want = losses.loss_by_position(model, tokens)[:, 1:].mean(dim=1)
    torch.testing.assert_close(losses.stream_loss(model, model.stream(tokens), tokens), want, **EXACT)


# --- random weights, and weights on disk ---


def test_what_is_drawn_begins_as_it_should(put_back):
    model = Transformer.init(TransformerConfig(n_layers=2, d_vocab=64, d_model=96, n_heads=3, **put_back), seed=1)
    for name, weight in model.named_parameters():
        if name.startswith("ln"):
            assert (weight == name.endswith("_w")).all(), name
        elif name.startswith("W_"):
            reads = {"W_E": 0.5, "W_pos": 0.5, "W_O": 96**-0.5 / 2, "W_out": 1024**-0.5 / 2}.get(name, 96**-0.5)
            assert weight.std().item() == pytest.approx(reads, rel=0.05), name
        else:
            assert (weight == 0).all(), name
    assert hasattr(model, "W_pos") == (model.cfg.positions != "rotary")


def test_a_model_comes_back_from_disk_as_it_was(make_transformer, tokens_for, tmp_path, put_back):
    model = make_transformer(16, dtype=torch.float32, **put_back)
    for weight in model.parameters():
        weight.copy_(weight.half().float())  # weights are written in 16 bits
    checkpoints.save_model(model, "mine", {}, tmp_path)
    back = checkpoints.load_model("mine", "cpu", tmp_path)
    assert type(back) is Transformer and back.cfg == model.cfg
    assert all(torch.equal(back.state_dict()[name], weight) for name, weight in model.state_dict().items())
    assert torch.equal(back(tokens_for(model)), model(tokens_for(model)))


def test_the_class_of_a_model_is_that_of_its_configuration(make_model, tmp_path):
    assert class_of(TransformerConfig()) is Transformer
    assert class_of(ModelConfig()) is AttentionOnlyTransformer
    checkpoints.save_model(make_model(), "mine", {}, tmp_path)
    assert type(checkpoints.load_model("mine", "cpu", tmp_path)) is AttentionOnlyTransformer


def test_the_recipes_differ_in_what_they_are_named_after():
    plain, training = RECIPES["live-plain"]
    for name, settings in PUT_BACK.items():
        cfg, same = RECIPES[f"live-{name}"]
        changed = {key for key, value in cfg.to_dict().items() if value != plain.to_dict()[key]}
        assert changed == set(settings) and same == training, name
    live = RECIPES["live"][0].to_dict()
    assert live == {key: plain.to_dict()[key] for key in live}
    assert (training.steps, training.windows, training.optimiser) == (900, 200, "muon")


BAD = {
    "norm": "batch", "mlp": "relu", "positions": "alibi", "biases": 1, "d_mlp": 0, "rotary_base": 0.0, "norm_eps": -1.0,
    "n_key_heads": 0, "n_heads": 0,
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_settings_that_no_model_has_are_refused(name):
    with pytest.raises(CourseError, match=f"{name} is .*Remedy:"):
        TransformerConfig(**{name: BAD[name]})


def test_rotary_positions_need_pairs_of_coordinates():
    with pytest.raises(CourseError, match="d_head is 5.*pairs.*Remedy:"):
        TransformerConfig(d_head=5, positions="rotary")
    TransformerConfig(d_head=5)


def test_another_configuration_is_no_transformers():
    with pytest.raises(CourseError, match="cfg.*Remedy:"):
        Transformer(ModelConfig())
