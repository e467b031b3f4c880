"""The checkers of chapter 11: what they say to plausible mistakes, and right answers in other forms."""

import torch
from checker_checks import same_tests

from course_utils.checks import ch11

# --- right answers, as a reader might write them: each with one thing that can be wrong ---


def fold_value_biases(model, old=True, sign=1, mean=False, W_O=None):
    W_O = model.W_O if W_O is None else W_O(model)
    folded = torch.einsum("lhd,lhdm->lhm", model.b_V, W_O)
    folded = folded.mean(1) if mean else folded.sum(1)
    return (model.b_O if old else 0) + sign * folded


def without_the_mean(model, names=("W_E", "W_pos", "W_O"), dim=-1):
    return {
        name: weight - (weight.mean() if dim is None else weight.mean(dim, keepdim=True))
        for name, weight in model.named_parameters()
        if name in names
    }


def cut_in_two(model, tokens, head, scale="whole", centred=True, first=1, sign=1, whole_fall=False, ahead=1):
    logits, cache = model.run_with_cache(tokens)
    x, part = cache.resid[-1], cache.head_out(*head)

    def of_answer(values):
        values = values - values.mean(-1, keepdim=True) if centred else values
        return values[:, first:-1].gather(2, tokens.roll(-ahead, 1)[:, first:-1, None]).mean()

    of = {"whole": x, "left": x - part, "own": part}
    direct = of_answer(model.unembed(part, part_of=of[scale]) if scale in of else part @ model.W_U)
    fall = of_answer(logits) - of_answer(model.unembed(x - part))
    return direct, sign * (fall if whole_fall else fall - direct)


def neuron_parts(model, tokens, neuron, layer=0, b_O=True, b_in=True, off=0, out=False, after=lambda x: x):
    cache = model.run_with_cache(tokens)[1]
    w = model.W_out[layer, neuron] if out else model.W_in[layer, :, neuron - off]
    parts = [cache.resid[0], *(cache.head_out(0, head) for head in range(model.cfg.n_heads))]
    constant = torch.zeros(()).double()
    if model.cfg.biases:
        constant = constant + (model.b_in[0, neuron] if b_in else 0) + (model.b_O[0] @ w if b_O else 0)
    return after(torch.stack([*(part @ w for part in parts), constant.expand(tokens.shape)]))


def without_pointers(model, tokens, head, side="q", own=False, moved=("W_pos",), one=None, scores=False):
    cache = model.run_with_cache(tokens)[1]
    parts = {"W_pos": model.W_pos[: tokens.shape[1]].expand(*tokens.shape, -1), "W_E": model.W_E[tokens]}
    part = torch.zeros_like(cache.resid[0])
    for name in moved:
        for h in range(model.cfg.n_heads) if one is None else [one]:
            part = part + cache.pattern[0][:, h] @ parts[name] @ model.W_V[0, h] @ model.W_O[0, h]
    part = part + parts["W_pos"] if own else part
    x = cache.resid[1]
    q = (x - part * ("q" in side)) @ model.W_Q[1, head]
    k = (x - part * ("k" in side)) @ model.W_K[1, head]
    return model.scores(q, k) if scores else model.scores(q, k).softmax(-1)


def but(function, **wrong):
    return lambda *given: function(*given, **wrong)


def centred_readers(model):
    readers = {name: getattr(model, name) for name in ("W_Q", "W_K", "W_V", "W_U")}
    return {name: weight - weight.mean(-2, keepdim=True) for name, weight in readers.items()}


def constant_left_over(model, tokens, neuron):
    cache, parts = model.run_with_cache(tokens)[1], neuron_parts(model, tokens, neuron)[:-1]
    return torch.cat([parts, (model.pre_activations(cache.resid_mid[0], 0)[..., neuron] - parts.sum(0))[None]])


def value_biases_apart(model, tokens, neuron):
    parts, w = neuron_parts(model, tokens, neuron), model.W_in[0, :, neuron]
    for head in range(model.cfg.n_heads if model.cfg.biases else 0):
        moved = model.b_V[0, head] @ model.W_O[0, head] @ w
        parts[1 + head] -= moved
        parts[-1] += moved
    return parts


def in_place(model):
    model.b_O += torch.einsum("lhd,lhdm->lm", model.b_V, model.W_O)
    return model.b_O


RIGHT = [
    (ch11.fold_value_biases, fold_value_biases),
    (ch11.fold_value_biases, lambda model: fold_value_biases(model).tolist()),
    (ch11.without_the_mean, without_the_mean),
    (ch11.without_the_mean, lambda model: {**dict(model.named_parameters()), **without_the_mean(model)}),
    (ch11.cut_in_two, cut_in_two),
    (ch11.cut_in_two, lambda *given: [x.item() for x in cut_in_two(*given)]),
    (ch11.neuron_parts, neuron_parts),
    (ch11.neuron_parts, lambda *given: list(neuron_parts(*given))),
    (ch11.without_pointers, without_pointers),
]

# --- plausible mistakes: (checker, answer, what the message must say) ---

MISTAKES = [
    (ch11.fold_value_biases, but(fold_value_biases, old=False), "leaves out the old b_O"),
    (ch11.fold_value_biases, but(fold_value_biases, sign=-1), "wrong sign"),
    (ch11.fold_value_biases, but(fold_value_biases, mean=True), "they add up"),
    (ch11.fold_value_biases, but(fold_value_biases, W_O=lambda model: model.W_O.flip(0)), "W_O of another"),
    (ch11.fold_value_biases, lambda model: model.b_O + model.b_V[:, 0] @ model.W_O[0, 0], "expected"),
    (ch11.fold_value_biases, lambda model: model.b_O, "the old one"),
    (ch11.fold_value_biases, in_place, "You changed the model's ['b_O']"),
    (ch11.fold_value_biases, lambda model: fold_value_biases(model)[0], "has shape"),
    (ch11.fold_value_biases, lambda model: None, "None"),
    (ch11.without_the_mean, but(without_the_mean, names=("W_E", "W_O")), "Positions are part"),
    (ch11.without_the_mean, but(without_the_mean, names=("W_pos", "W_O")), "W_E is as it was"),
    (ch11.without_the_mean, but(without_the_mean, names=("W_E", "W_pos")), "W_O is as it was"),
    (ch11.without_the_mean, but(without_the_mean, names=("W_E", "W_pos", "W_O", "W_U")), "W_U only reads"),
    (ch11.without_the_mean, centred_readers, "Change what writes"),
    (ch11.without_the_mean, but(without_the_mean, dim=-2), "not over rows"),
    (ch11.without_the_mean, but(without_the_mean, dim=None), "a mean of its own"),
    (ch11.without_the_mean, lambda model: {k: 2 * v for k, v in without_the_mean(model).items()}, "mean zero"),
    (ch11.without_the_mean, lambda model: {"W_e": model.W_E}, "no ['W_e']"),
    (ch11.without_the_mean, lambda model: {"W_E": model.W_E.T}, "has shape"),
    (ch11.without_the_mean, lambda model: list(without_the_mean(model).values()), "Return a dict"),
    (ch11.cut_in_two, but(cut_in_two, scale="own"), "pass part_of, the whole stream"),
    (ch11.cut_in_two, but(cut_in_two, scale="left"), "the stream that is left"),
    (ch11.cut_in_two, but(cut_in_two, scale="none"), "has no norm"),
    (ch11.cut_in_two, but(cut_in_two, centred=False), "less the mean"),
    (ch11.cut_in_two, but(cut_in_two, first=0), "position 0"),
    (ch11.cut_in_two, but(cut_in_two, ahead=0), "that which comes next"),
    (ch11.cut_in_two, but(cut_in_two, sign=-1), "wrong sign"),
    (ch11.cut_in_two, but(cut_in_two, whole_fall=True), "take the direct part off"),
    (ch11.cut_in_two, lambda *given: cut_in_two(*given)[::-1], "expected"),
    (ch11.cut_in_two, lambda *given: cut_in_two(*given)[0], "Return two numbers"),
    (ch11.neuron_parts, but(neuron_parts, b_O=False), "leaves b_O out"),
    (ch11.neuron_parts, but(neuron_parts, b_in=False), "leaves b_in out"),
    (ch11.neuron_parts, but(neuron_parts, layer=1), "a neuron of layer 1"),
    (ch11.neuron_parts, but(neuron_parts, out=True), "a column of W_in"),
    (ch11.neuron_parts, but(neuron_parts, off=1), "neuron before it"),
    (ch11.neuron_parts, lambda m, t, neuron: neuron_parts(m, t, 5), "is of neuron 5"),
    (ch11.neuron_parts, value_biases_apart, "biases of values"),
    (ch11.neuron_parts, constant_left_over, "left over"),
    (ch11.neuron_parts, but(neuron_parts, after=torch.nn.functional.gelu), "after GELU"),
    (ch11.neuron_parts, but(neuron_parts, after=lambda x: x[:-1]), "has shape"),
    (ch11.neuron_parts, but(neuron_parts, after=lambda x: x.sum(0)), "has shape"),
    (ch11.without_pointers, but(without_pointers, side="k"), "off the queries"),
    (ch11.without_pointers, but(without_pointers, side="qk"), "off the keys, too"),
    (ch11.without_pointers, but(without_pointers, one=2), "only what head 0.2 moved"),
    (ch11.without_pointers, but(without_pointers, scores=True), "are scores"),
    (ch11.without_pointers, but(without_pointers, moved=("W_E",)), "moved of tokens"),
    (ch11.without_pointers, but(without_pointers, moved=("W_E", "W_pos")), "of positions only"),
    (ch11.without_pointers, but(without_pointers, own=True), "own position taken off, too"),
    (ch11.without_pointers, but(without_pointers, own=True, moved=()), "not what heads of layer 0 moved"),
    (ch11.without_pointers, but(without_pointers, moved=()), "nothing was taken off"),
    (ch11.without_pointers, lambda model, tokens, head: without_pointers(model, tokens, head - 1), "another head"),
    (ch11.without_pointers, lambda *given: without_pointers(*given)[0], "has shape"),
]


(
    test_a_right_answer_passes,
    test_a_mistake_is_told_what_is_wrong,
    test_every_checker_has_three_mistakes_or_more,
) = same_tests(ch11, RIGHT, MISTAKES, 5)
