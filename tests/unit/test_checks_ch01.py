"""The checkers of chapter 1: what they say to plausible mistakes."""

import copy

import pytest
import torch
from checker_checks import checkers_of

from course_utils.checks import ch01
from course_utils.circuits import centre
from course_utils.interventions import run_without

# --- plausible mistakes: (checker, answer, what the message must say) ---


def shapes_but(**wrong):
    def answer(cfg, batch, pos):
        right = {
            "stream": (batch, pos, cfg.d_model), "query": (batch, pos, cfg.d_head), "pattern": (batch, pos, pos),
            "head_out": (batch, pos, cfg.d_model), "W_OV": (cfg.d_model, cfg.d_model),
            "logits": (batch, pos, cfg.d_vocab),
        }  # fmt: skip
        return right | {name: shape(cfg, batch, pos) for name, shape in wrong.items()}

    return answer


def share(
    cfg, heads=True, layers=True, weights=4, vocabularies=2, pos=True, of=lambda heads, rest: heads / (heads + rest)
):
    """What share of a model's weights is in heads, with one mistake."""
    inside = weights * cfg.d_model * cfg.d_head * (cfg.n_heads if heads else 1) * (cfg.n_layers if layers else 1)
    return of(inside, (vocabularies * cfg.d_vocab + pos * cfg.n_ctx) * cfg.d_model)


def share_of_products(cfg):
    products = 2 * cfg.n_layers * cfg.n_heads * cfg.d_model**2
    return products / (products + (2 * cfg.d_vocab + cfg.n_ctx) * cfg.d_model)


def share_with(**mistake):
    return lambda cfg: share(cfg, **mistake)


def parts(model, tokens, position, token, first=0, at=0):
    _, cache = model.run_with_cache(tokens)
    heads = [cache.head_out(layer, h) for layer in range(model.cfg.n_layers) for h in range(model.cfg.n_heads)]
    return torch.stack([cache.resid[first], *heads])[:, 0, position + at] @ model.W_U[:, token]


def parts_of_the_token_that_stands_there(model, tokens, position, token):
    return parts(model, tokens, position, tokens[0, position])


def centred_parts(model, tokens, position, token):
    centred = copy.deepcopy(model)
    centred.W_U.copy_(centre(model.W_U, dim=1))
    return parts(centred, tokens, position, token)


def parts_of_heads_only(model, tokens, position, token):
    return parts(model, tokens, position, token)[1:]


def written(cache):
    heads = [(layer, head) for layer in range(len(cache.z)) for head in range(cache.z.shape[2])]
    return torch.stack([cache.head_out(*head) for head in heads])


def gain(model, tokens, sign=1, control=1.0, roll=1, first=1, later=1):
    _, cache = model.run_with_cache(tokens)
    right, other = (model.W_U.T[t[:, first + 1 :]] for t in (tokens, tokens.roll(roll, dims=0)))
    if later == 0:
        other = model.W_U.T[tokens[:, first:-1]]
    added = written(cache)[:, :, first:-1] * (sign * right - control * other)
    return added.sum(-1).mean((1, 2)).view(model.cfg.n_layers, -1)


def gain_without_control(model, tokens):
    _, cache = model.run_with_cache(tokens)
    added = written(cache)[:, :, 1:-1] * centre(model.W_U, dim=1).T[tokens[:, 2:]]
    return added.sum(-1).mean((1, 2)).view(model.cfg.n_layers, -1)


def through(model, tokens, direct=1.0, sign=1.0, first=1, centred=True):
    """The whole effect of each head, less `direct` times its direct part."""
    columns = (centre(model.W_U, dim=1) if centred else model.W_U).T[tokens[:, first + 1 :]]

    def answer(stream):
        return (stream[:, first:-1] * columns).sum(-1).mean()

    _, cache = model.run_with_cache(tokens)
    found = torch.zeros(model.cfg.n_layers, model.cfg.n_heads).double()
    for layer in range(model.cfg.n_layers):
        for head in range(model.cfg.n_heads):
            _, without = run_without(model, tokens, [(layer, head)])
            whole = answer(cache.resid[-1]) - answer(without.resid[-1])
            found[layer, head] = sign * (whole - direct * answer(cache.head_out(layer, head)))
    return found


def only_direct(model, tokens):
    return through(model, tokens, direct=0) - through(model, tokens)


def changed(*, reads, W_pos=True, W_U=True, in_place=False):
    def answer(model, M):
        other = model if in_place else copy.deepcopy(model)
        for W in (other.W_E, other.W_O, *([other.W_pos] if W_pos else [])):
            W.copy_(W @ M)
        for W in (other.W_Q, other.W_K, other.W_V, *([other.W_U] if W_U else [])):
            W.copy_(reads(M) @ W)
        return other

    return answer


def stretched(by):
    """M: the directions that the writer writes, made longer by a factor."""

    def answer(model, writer):
        writes = torch.linalg.qr(model.W_O[0, writer].T).Q
        return torch.eye(model.cfg.d_model) + (by - 1) * writes @ writes.T

    return answer


def right_change(model, M):
    return changed(reads=torch.linalg.inv)(model, M)


def folded(values=True, output=True, keep_one=False):
    def answer(W_V, b_V, W_O, b_O):
        new_V, new_O = W_V.new_zeros(6, 4), W_O.new_zeros(4, 6)
        new_V[:-1, :-1], new_V[-1, -1], new_O[:-1, :-1] = W_V, 1, W_O
        new_V[-1, :-1] = b_V * values
        new_O[-1, :-1] = b_O * output
        new_O[-1, -1] = float(keep_one)
        return new_V, new_O

    return answer


def stub(*_):
    raise NotImplementedError


def nothing(*_):
    return None


MISTAKES = [
    (ch01.shapes, (shapes_but(query=lambda c, b, p: (b, p, c.d_model)), share), "query has shape (2, 5, 10)"),
    (ch01.shapes, (shapes_but(head_out=lambda c, b, p: (b, p, c.d_head)), share), "must have the shape of the stream"),
    (ch01.shapes, (shapes_but(W_OV=lambda c, b, p: (c.d_head, c.d_head)), share), "only its rank is d_head"),
    (ch01.shapes, (lambda cfg, batch, pos: {"stream": (batch, pos, cfg.d_model)}, share), "The names are ['stream']"),
    (ch01.shapes, (lambda cfg, batch, pos: shapes_but()(cfg, 2, 5), share), "d_vocab=17, batch=3"),
    (ch01.shapes, (lambda *_: shapes_but()(ch01.SMALL, *_[1:]), share), "expected (1, 100, 384)"),
    (ch01.shapes, (shapes_but(), stub), "All six shapes fit. That half is right. Now `heads_share`"),
    (ch01.shapes, (nothing, share), "NoneType, expected a dict"),
    (ch01.shapes, (shapes_but(), share_with(heads=False)), "with one head"),
    (ch01.shapes, (shapes_but(), share_with(layers=False)), "with one layer"),
    (ch01.shapes, (shapes_but(), share_with(weights=3)), "learns four weights"),
    (ch01.shapes, (shapes_but(), share_with(vocabularies=1)), "W_U is left out"),
    (ch01.shapes, (shapes_but(), share_with(pos=False)), "W_pos is left out"),
    (ch01.shapes, (shapes_but(), share_of_products), "not their products"),
    (ch01.shapes, (shapes_but(), share_with(of=lambda heads, rest: heads / rest)), "the heads' own numbers included"),
    (ch01.shapes, (shapes_but(), share_with(of=lambda heads, rest: rest / (heads + rest))), "what is not in heads"),
    (ch01.shapes, (shapes_but(), lambda cfg: 100 * share(cfg)), "in percent"),
    (ch01.shapes, (shapes_but(), lambda cfg: 4 / 15), "For a small model your share is 0.2667"),
    (ch01.shapes, (shapes_but(), lambda cfg: 4 / 15 if cfg.d_model > 10 else share(cfg)), "For the one-layer model"),
    (ch01.shapes, (shapes_but(), lambda cfg: share(cfg) if cfg.d_model in (10, 384) else 4 / 15), "an unseen model"),
    (ch01.shapes, (shapes_but(), share_with(of=lambda heads, rest: (heads, rest))), "expected one number"),
    (ch01.shapes, (shapes_but(), nothing), "is None"),
    (ch01.logit_parts, (parts_of_the_token_that_stands_there, gain), "use the token given"),
    (ch01.logit_parts, (lambda *given: parts(*given, first=-1), gain), "the first part is the whole logit"),
    (ch01.logit_parts, (lambda *given: parts(*given, at=-1), gain), "the position before the one given"),
    (ch01.logit_parts, (lambda *given: parts(*given, at=1), gain), "the position after the one given"),
    (ch01.logit_parts, (centred_parts, gain), "You took the mean over the vocabulary off"),
    (ch01.logit_parts, (parts_of_heads_only, gain), "has shape [6], expected [7]"),
    (ch01.logit_parts, (lambda *given: 2 * parts(*given), gain), "The parts sum to"),
    (ch01.logit_parts, (lambda *given: parts(*given)[[0, 4, 5, 6, 1, 2, 3]], gain), "The list of parts is"),
    (ch01.logit_parts, (parts, stub), "That half is right. Now `gain`"),
    (ch01.change_basis, (right_change, stub), "That half is right. Now `promote`"),
    (ch01.logit_parts, (parts, gain_without_control), "without the control"),
    (ch01.logit_parts, (parts, lambda m, t: gain(m, t, sign=-1, control=-1)), "The sign is the other way"),
    (ch01.logit_parts, (parts, lambda m, t: gain(m, t, first=0)), "position 0 is in the mean"),
    (ch01.logit_parts, (parts, lambda m, t: gain(m, t, later=0)), "not the token that stands there"),
    (ch01.logit_parts, (parts, lambda m, t: gain(m, t, roll=-1)), "the window behind"),
    (ch01.logit_parts, (parts, lambda m, t: gain(m, t).flatten()), "has shape [6], expected [2, 3]"),
    (ch01.through_others, (lambda m, t: through(m, t, direct=0),), "the whole effect"),
    (ch01.through_others, (only_direct,), "That is the direct part"),
    (ch01.through_others, (lambda m, t: through(m, t, sign=-1),), "The sign is the other way"),
    (ch01.through_others, (lambda m, t: through(m, t, direct=-1),), "take it off"),
    (ch01.through_others, (lambda m, t: through(m, t, centred=False),), "not centred"),
    (ch01.through_others, (lambda m, t: through(m, t, first=0),), "position 0"),
    (ch01.through_others, (lambda m, t: through(m, t) + 1,), "expected 0"),
    (ch01.change_basis, (changed(reads=lambda M: M.T), stretched(0.1)), "M.T won't do"),
    (ch01.change_basis, (changed(reads=torch.linalg.inv, W_pos=False), stretched(0.1)), "the stream plus W_pos"),
    (ch01.change_basis, (changed(reads=torch.linalg.inv, W_U=False), stretched(0.1)), "it is W_U, which reads"),
    (ch01.change_basis, (changed(reads=torch.linalg.inv, in_place=True), stretched(0.1)), "work on a copy"),
    (ch01.change_basis, (lambda model, M: copy.deepcopy(model), stretched(0.1)), "The stream is the same as before"),
    (ch01.change_basis, (right_change, lambda model, writer: torch.eye(model.cfg.d_model)), "Your M is a rotation"),
    (ch01.change_basis, (right_change, lambda model, writer: torch.zeros(2, 2)), "has shape [2, 2]"),
    (ch01.change_basis, (right_change, stretched(0)), "can't be undone"),
    (ch01.change_basis, (right_change, stretched(10)), "which directions should shrink"),
    (ch01.fold_biases, (folded(values=False),), "b_V is missing"),
    (ch01.fold_biases, (folded(output=False),), "b_O is missing"),
    (ch01.fold_biases, (folded(keep_one=True),), "what it adds there must be 0"),
    (ch01.fold_biases, (lambda W_V, b_V, W_O, b_O: (W_V, W_O),), "has shape [5, 3], expected [6, 4]"),
]  # fmt: skip


@pytest.mark.parametrize(("checker", "answers", "says"), MISTAKES, ids=[says[:40] for *_, says in MISTAKES])
def test_a_mistake_is_told_what_is_wrong(checker, answers, says):
    outcome = checker(*answers)
    assert outcome.status == "failed" and says.lower() in outcome.message.lower(), outcome


def test_every_checker_has_two_mistakes_or_more():
    told = [checker.__name__ for checker, *_ in MISTAKES]
    checkers = checkers_of(ch01)
    assert len(checkers) == 5 and all(told.count(name) >= 2 for name in checkers)
