"""Exercises of chapter 1, "The residual stream".

Each checker draws a small random model (in 64-bit numbers), works out the answer by itself, and compares.
"""

import copy

import torch

from course_utils.checks.base import (
    Wrong,
    close,
    drawn_tokens,
    exercise,
    normal,
    require,
    require_close,
    require_given,
    require_shape,
    small_model,
)
from course_utils.config import ModelConfig
from course_utils.factored import FactoredMatrix

# All sizes differ, so that no shape is right by chance.
SMALL = ModelConfig(n_layers=2, n_heads=3, d_model=10, d_head=4, d_vocab=17, n_ctx=9)
EXACT = 1e-9  # between two ways to compute the same thing in 64-bit numbers


@exercise("Exercise 1.1")
def shapes(answer) -> str:
    cfg, batch, pos = SMALL, 2, 5
    got = answer(cfg, batch, pos)
    want = {
        "stream": (batch, pos, cfg.d_model),
        "query": (batch, pos, cfg.d_head),
        "pattern": (batch, pos, pos),
        "head_out": (batch, pos, cfg.d_model),
        "W_OV": (cfg.d_model, cfg.d_model),
        "logits": (batch, pos, cfg.d_vocab),
    }
    require(isinstance(got, dict), f"Your function returns {type(got).__name__}, expected a dict from names to shapes.")
    require(set(got) == set(want), f"The names are {sorted(map(str, got))}, expected {sorted(want)}.")
    hints = {
        "query": "One head's query lives in the head's own small space.",
        "pattern": "One weight for each pair: position that looks, position looked at.",
        "head_out": "What is added to the stream must have the shape of the stream.",
        "W_OV": "It takes a vector of the stream to a vector of the stream; only its rank is d_head.",
        "logits": "One logit for each token of the vocabulary, at every position.",
    }
    for name, shape in want.items():
        sizes = f"d_model={cfg.d_model}, d_head={cfg.d_head}, d_vocab={cfg.d_vocab}, batch={batch}, pos={pos}"
        told = f"{name} has shape {tuple(got[name])}, expected {shape} ({sizes}). {hints.get(name, '')}"
        require(tuple(got[name]) == shape, told.strip())
    return "All six shapes fit."


@exercise("Exercise 1.2")
def side_by_side(answer) -> str:
    H, P, D, M = 3, 5, 4, 10
    z, W_O = normal((H, P, D), 0), normal((H, D, M), 1)
    got = answer(z, W_O)
    require(isinstance(got, tuple | list) and len(got) == 2, "Return two matrices: the z of all heads, and all W_O.")
    z_all, W_all = got
    require_shape(z_all, (P, H * D), "The z of all heads, side by side,", "One row per position, the heads in a row.")
    require_shape(W_all, (H * D, M), "All W_O together", "The heads' W_O stand below one another.")
    want = sum(z[h] @ W_O[h] for h in range(H))
    hint = "Block h of the columns of the first must meet block h of the rows of the second."
    if not close(z_all, z.permute(1, 0, 2).reshape(P, H * D)) and close(z_all, z.reshape(P, H * D)):
        raise Wrong("z.reshape mixes heads with positions: bring the axes to [pos, head, d_head] first.")
    require_close(z_all @ W_all, want, "The product of the two", EXACT, hint)
    return "One product, the same sum."


@exercise("Exercise 1.3")
def logit_parts(answer) -> str:
    model, tokens = small_model(SMALL, 2), drawn_tokens(SMALL.d_vocab, (1, 7), 3)
    position, token = 4, 11
    got = answer(model, tokens, position, token)
    logits, cache = model.run_with_cache(tokens)
    column = model.W_U[:, token]
    heads = [cache.head_out(layer, h)[0, position] for layer in range(2) for h in range(SMALL.n_heads)]
    want = torch.stack([cache.resid[0][0, position] @ column, *(out @ column for out in heads)])
    hint = "The embedding first, then the heads: 0.0, 0.1, …, 1.0, …"
    require_shape(got, tuple(want.shape), "The list of parts", hint)
    logit = logits[0, position, token].item()
    if close(got[0], cache.resid[-1][0, position] @ column):
        raise Wrong("The first part is the whole logit: take the stream before layer 0, cache.resid[0].")
    if close(got[0], cache.resid[0][0, position] @ model.W_U[:, tokens[0, position]]):
        raise Wrong("These parts are of the logit of the token that stands at the position: use the token given.")
    total = float(torch.as_tensor(got).sum())
    require(abs(total - logit) < EXACT, f"The parts sum to {total:.4g}, but the logit is {logit:.4g}. {hint}")
    require_close(got, want, "The list of parts", EXACT, hint)
    return f"The {len(want)} parts sum to the logit."


@exercise("Exercise 1.4")
def virtual_weights(answer) -> str:
    model, writer, reader = small_model(SMALL, 4), 1, 2
    got = answer(model, writer, reader)
    W_V, W_O = model.W_V[0, writer], model.W_O[0, writer]
    want = W_V @ W_O @ model.W_K[1, reader]
    require_given(got)
    dense = got.AB if isinstance(got, FactoredMatrix) else torch.as_tensor(got)
    mistakes = {
        "the queries of the reader: use W_K": W_V @ W_O @ model.W_Q[1, reader],
        "the values of the reader: use W_K": W_V @ W_O @ model.W_V[1, reader],
        "the heads the other way round: `writer` is in layer 0": model.W_V[0, reader] @ model.W_O[0, reader]
        @ model.W_K[1, writer],
        "W_O and W_K alone, from inside the writer: begin at the stream, with W_V": W_O @ model.W_K[1, reader],
    }  # fmt: skip
    for what, wrong in mistakes.items():
        require(not close(dense, wrong), f"These are virtual weights into another place, {what}.")
    if close(dense, want.T):
        raise Wrong("This is the transpose: the paper's order for columns. We multiply rows, so reading comes last.")
    require_shape(dense, tuple(want.shape), "The product", "From the stream (d_model) to a key (d_head).")
    require_close(dense, want, "The product", EXACT, "In rows, what happens first stands first.")
    require(isinstance(got, FactoredMatrix), "The values are right. Now keep the product factored: W_OV(…) @ …")
    return f"{got.shape[0]} × {got.shape[1]}, and never multiplied out."


@exercise("Exercise 1.5")
def change_basis(answer) -> str:
    model, tokens = small_model(SMALL, 5), drawn_tokens(SMALL.d_vocab, (1, 7), 6)
    before = copy.deepcopy(model.state_dict())
    M = normal((SMALL.d_model, SMALL.d_model), 7)  # invertible, far from orthogonal
    changed = answer(model, M)
    require_given(changed)
    for name, weight in model.state_dict().items():
        require(torch.equal(weight, before[name]), f"You changed {name} of the model you were given: work on a copy.")
    (want, old), (got, new) = model.run_with_cache(tokens), changed.run_with_cache(tokens)
    hint = "Inputs of a matrix are undone with the inverse; for a matrix that isn't orthogonal, M.T won't do."
    require(not close(new.resid[0], old.resid[0]), "The stream is the same as before: what writes it must be changed.")
    require_close(new.resid[0], old.resid[0] @ M, "The stream before layer 0", EXACT, "Every token's vector times M.")
    if not close(new.pattern[0], old.pattern[0]):
        moved = close(changed.W_pos, model.W_pos @ M)
        why = hint if moved else "Queries and keys read the stream plus W_pos: these vectors must turn along too."
        raise Wrong(f"The attention patterns of layer 0 are no longer the same. {why}")
    require_close(new.resid, old.resid @ M, "The stream", 1e-6, "Check W_V (reads) and W_O (writes).")
    require_close(got, want, "A logit", 1e-6, "The streams agree, so it is W_U, which reads. " + hint)
    return "Another stream, the same function."


@exercise("Exercise 1.6")
def fold_biases(answer) -> str:
    d_model, d_head, pos = 5, 3, 4
    W_V, W_O = normal((d_model, d_head), 8), normal((d_head, d_model), 9)
    b_V, b_O = normal((d_head,), 10), normal((d_model,), 11)
    x, pattern = normal((pos, d_model), 12), normal((pos, pos), 13).softmax(dim=-1)
    got = answer(W_V, b_V, W_O, b_O)
    require(isinstance(got, tuple | list) and len(got) == 2, "Return two matrices, the new W_V and the new W_O.")
    new_V, new_O = got
    require_shape(new_V, (d_model + 1, d_head + 1), "The new W_V", "A row more for the one, a column more to carry it.")
    require_shape(new_O, (d_head + 1, d_model + 1), "The new W_O", "One more row for the one that W_V carried.")
    with_one = torch.cat([x, torch.ones(pos, 1, dtype=x.dtype)], dim=1)
    added = pattern @ (with_one @ new_V) @ new_O
    want = pattern @ (x @ W_V + b_V) @ W_O + b_O
    ones = added[:, -1]
    require(close(ones, torch.zeros_like(ones), EXACT), "The head adds something to the dimension that is always one "
            f"({ones[0].item():.4g}): what it adds there must be 0, or the stream's 1 is gone.")  # fmt: skip
    if close(added[:, :-1], pattern @ (x @ W_V) @ W_O + b_O):
        raise Wrong("b_V is missing: the last row of the new W_V meets the one of the stream.")
    if close(added[:, :-1], pattern @ (x @ W_V + b_V) @ W_O):
        raise Wrong("b_O is missing: carry the one through the head's last dimension, and let W_O read it there.")
    require_close(added[:, :-1], want, "What the head adds", EXACT, "It should be pattern @ (x W_V + b_V) W_O + b_O.")
    return "No bias left, and the same head."
