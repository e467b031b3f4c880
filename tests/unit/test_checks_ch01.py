"""The checkers of chapter 1: what they say to plausible mistakes."""

import copy

import pytest
import torch
from checker_checks import checkers_of

from course_utils.checks import ch01
from course_utils.circuits import W_OV

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


def rows_of_z_as_they_lie(z, W_O):
    return z.reshape(z.shape[1], -1), W_O.flatten(0, 1)


def blocks_in_another_order(z, W_O):
    return z.permute(1, 0, 2).flatten(1), W_O.flip(0).flatten(0, 1)


def one_matrix_per_head(z, W_O):
    return z, W_O


def parts(model, tokens, position, token, first=0, at=0):
    _, cache = model.run_with_cache(tokens)
    heads = [cache.head_out(layer, h) for layer in range(model.cfg.n_layers) for h in range(model.cfg.n_heads)]
    return torch.stack([cache.resid[first], *heads])[:, 0, position + at] @ model.W_U[:, token]


def parts_of_the_token_that_stands_there(model, tokens, position, token):
    return parts(model, tokens, position, tokens[0, position])


def parts_of_heads_only(model, tokens, position, token):
    return parts(model, tokens, position, token)[1:]


def through(read, write):
    """Virtual weights with other matrices: `read` and `write` say whose."""
    return lambda model, writer, reader: read(model, writer, reader) @ write(model, writer, reader)


def changed(*, reads, W_pos=True, W_U=True, in_place=False):
    def answer(model, M):
        other = model if in_place else copy.deepcopy(model)
        for W in (other.W_E, other.W_O, *([other.W_pos] if W_pos else [])):
            W.copy_(W @ M)
        for W in (other.W_Q, other.W_K, other.W_V, *([other.W_U] if W_U else [])):
            W.copy_(reads(M) @ W)
        return other

    return answer


def folded(values=True, output=True, keep_one=False):
    def answer(W_V, b_V, W_O, b_O):
        new_V, new_O = W_V.new_zeros(6, 4), W_O.new_zeros(4, 6)
        new_V[:-1, :-1], new_V[-1, -1], new_O[:-1, :-1] = W_V, 1, W_O
        new_V[-1, :-1] = b_V * values
        new_O[-1, :-1] = b_O * output
        new_O[-1, -1] = float(keep_one)
        return new_V, new_O

    return answer


def nothing(*_):
    return None


MISTAKES = [
    (ch01.shapes, shapes_but(query=lambda c, b, p: (b, p, c.d_model)), "query has shape (2, 5, 10)"),
    (ch01.shapes, shapes_but(head_out=lambda c, b, p: (b, p, c.d_head)), "must have the shape of the stream"),
    (ch01.shapes, shapes_but(W_OV=lambda c, b, p: (c.d_head, c.d_head)), "only its rank is d_head"),
    (ch01.shapes, lambda cfg, batch, pos: {"stream": (batch, pos, cfg.d_model)}, "The names are ['stream']"),
    (ch01.shapes, nothing, "NoneType, expected a dict"),
    (ch01.side_by_side, rows_of_z_as_they_lie, "mixes heads with positions"),
    (ch01.side_by_side, blocks_in_another_order, "Block h of the columns"),
    (ch01.side_by_side, one_matrix_per_head, "has shape [3, 5, 4], expected [5, 12]"),
    (ch01.side_by_side, nothing, "Return two matrices"),
    (ch01.logit_parts, parts_of_the_token_that_stands_there, "use the token given"),
    (ch01.logit_parts, lambda *given: parts(*given, first=-1), "the first part is the whole logit"),
    (ch01.logit_parts, lambda *given: parts(*given, at=-1), "The parts sum to"),
    (ch01.logit_parts, parts_of_heads_only, "has shape [6], expected [7]"),
    (ch01.logit_parts, lambda *given: parts(*given)[torch.tensor([0, 4, 5, 6, 1, 2, 3])], "The list of parts is"),
    (ch01.virtual_weights, through(lambda m, w, r: W_OV(m, 0, w), lambda m, w, r: m.W_Q[1, r]), "the queries"),
    (ch01.virtual_weights, through(lambda m, w, r: W_OV(m, 0, r), lambda m, w, r: m.W_K[1, w]), "other way round"),
    (ch01.virtual_weights, through(lambda m, w, r: m.W_O[0, w], lambda m, w, r: m.W_K[1, r]), "from inside the writer"),
    (ch01.virtual_weights, lambda m, w, r: (W_OV(m, 0, w) @ m.W_K[1, r]).T, "This is the transpose"),
    (ch01.virtual_weights, lambda m, w, r: (W_OV(m, 0, w) @ m.W_K[1, r]).AB, "keep the product factored"),
    (ch01.virtual_weights, lambda m, w, r: W_OV(m, 1, w) @ m.W_K[1, r], "The product is"),
    (ch01.change_basis, changed(reads=lambda M: M.T), "M.T won't do"),
    (ch01.change_basis, changed(reads=torch.linalg.inv, W_pos=False), "the stream plus W_pos"),
    (ch01.change_basis, changed(reads=torch.linalg.inv, W_U=False), "it is W_U, which reads"),
    (ch01.change_basis, changed(reads=torch.linalg.inv, in_place=True), "work on a copy"),
    (ch01.change_basis, lambda model, M: copy.deepcopy(model), "The stream is the same as before"),
    (ch01.fold_biases, folded(values=False), "b_V is missing"),
    (ch01.fold_biases, folded(output=False), "b_O is missing"),
    (ch01.fold_biases, folded(keep_one=True), "what it adds there must be 0"),
    (ch01.fold_biases, lambda W_V, b_V, W_O, b_O: (W_V, W_O), "has shape [5, 3], expected [6, 4]"),
]  # fmt: skip


@pytest.mark.parametrize(("checker", "answer", "says"), MISTAKES, ids=[says[:40] for *_, says in MISTAKES])
def test_a_mistake_is_told_what_is_wrong(checker, answer, says):
    outcome = checker(answer)
    assert outcome.status == "failed" and says.lower() in outcome.message.lower(), outcome


def test_every_checker_has_two_mistakes_or_more():
    told = [checker.__name__ for checker, *_ in MISTAKES]
    checkers = checkers_of(ch01)
    assert len(checkers) == 6 and all(told.count(name) >= 2 for name in checkers)
