"""Exercises of chapter 12, "A model that people use".

Each checker makes a small random model of the public model's class (in 64-bit numbers), or numbers of its own, works
the answer out another way, and compares.
"""

import torch

from course_utils.checks.base import (
    drawn_tokens,
    exercise,
    name_mistake,
    normal,
    numbers,
    require,
    require_close,
    require_parts,
)
from course_utils.config import TransformerConfig
from course_utils.transformer import Transformer, rotated

# All sizes differ, so that no shape is right by chance.
SMALL = TransformerConfig(
    n_layers=3, n_heads=4, d_model=14, d_head=6, d_vocab=19, n_ctx=12,
    norm="rms", mlp="gated", d_mlp=10, positions="rotary", n_key_heads=2,
)  # fmt: skip
EXACT = 1e-8  # between two ways to compute the same thing in 64-bit numbers


@exercise("Exercise 12.1")
def mates(answer) -> str:
    for head, n_heads, n_key_heads in ((4, 9, 3), (5, 12, 3), (0, 8, 2), (7, 8, 2), (3, 6, 6), (2, 5, 1)):
        got = answer(head, n_heads, n_key_heads)
        require(got is not None, "The answer is None: does your function return something?")
        got, size = [int(mate) for mate in got], n_heads // n_key_heads
        want = [mate for mate in range(n_heads) if mate // size == head // size]
        given = f"of head {head}, with {n_heads} heads and {n_key_heads} key heads"
        mistakes = {
            "The heads of a group stand side by side: 0 … are the first group, not every so-many-th head.": [
                mate for mate in range(n_heads) if mate % n_key_heads == head % n_key_heads
            ],
            "The head itself shares its key head, too.": [mate for mate in want if mate != head],
            "That many heads would share one if there were as many groups as heads in a group: divide n_heads by "
            "n_key_heads.": [mate for mate in range(n_heads) if mate // n_key_heads == head // n_key_heads],
            "These are key heads: return query heads.": [head // size],
        }
        for message, wrong in mistakes.items():
            require(got != wrong or wrong == want, f"{message} ({given}: {got}, expected {want})")
        require(got == want, f"The mates {given} are {got}, expected {want}, in rising order.")
    return "So a composition measured on keys is one number for all of them."


@exercise("Exercise 12.2")
def score_at(answer) -> str:
    for seed, d_head, distance, base in ((0, 6, 3, 50.0), (1, 8, 1, 10_000.0), (2, 4, 0, 10.0), (3, 64, 11, 1e5)):
        q, k = normal((d_head,), seed), normal((d_head,), seed + 10)
        got = numbers(answer(q.clone(), k.clone(), distance, base), "The score")
        require(got.numel() == 1, f"Return one number, not {got.numel()}.")
        turned = [rotated(x[None], base, first=at)[0] for x, at in ((q, distance + 5), (k, 5))]
        want = turned[0] @ turned[1]
        other = rotated(k[None], base, first=distance)[0]
        mistakes = {
            "is not divided by the square root of d_head": want,
            "has the key turned, as if it stood after the query: turn the query": q @ other / d_head**0.5,
            "is that of one place: turning both by the same angle changes nothing": q @ k / d_head**0.5,
            "is divided by d_head: take its square root": want / d_head,
            "pairs coordinate p with p + d_head / 2; here pairs are neighbours: (0, 1), (2, 3) …": _in_halves(
                q, k, distance, base
            ),
            "has the angles of base^(−p / d_head): there are d_head / 2 pairs": _slower(q, k, distance, base),
        }
        want = want / d_head**0.5
        name_mistake(got.flatten()[0], mistakes, f"The score at distance {distance} {{}}.", EXACT, want)
        require_close(
            got.flatten()[0], want, f"The score at distance {distance}, d_head {d_head}, base {base:g}", EXACT
        )
    return "One QK circuit for every distance, from two vectors that know of none."


@exercise("Exercise 12.3")
def direct_and_all(answer) -> str:
    for seed, head in ((4, (0, 1)), (5, (1, 3)), (6, (2, 2))):
        model, tokens = _model(seed), _text(seed)
        got = answer(model, tokens.clone(), head)
        require_parts(got, 2, "Return two numbers: direct, and in all.")
        require(all(numbers(x, "A number").numel() == 1 for x in got), "Return means: two numbers, not two tensors.")
        direct, whole = (numbers(x, "A number").flatten()[0] for x in got)
        logits, cache = model.run_with_cache(tokens)
        part, x = cache.head_out(*head), cache.resid[-1]
        scale = (x.square().mean(-1, keepdim=True) + SMALL.norm_eps).rsqrt()
        without = _without(model, tokens, head)

        def of_answer(values, first=1, centred=True, tokens=tokens):
            values = values - values.mean(-1, keepdim=True) if centred else values
            return values[:, first:-1].gather(2, tokens[:, first + 1 :, None]).mean()

        added = (part * scale * model.ln_final_w) @ model.W_U
        want, fall = of_answer(added), of_answer(logits) - of_answer(without)
        name = "{}.{}".format(*head)
        mistakes = {
            "has no norm: divide by the whole stream's scale": of_answer(part @ model.W_U),
            "has the scale of the head's own output: pass part_of, the whole stream": of_answer(model.unembed(part)),
            "leaves out the weight of the last norm": of_answer((part * scale) @ model.W_U),
            "is not taken less the mean over the vocabulary": of_answer(added, centred=False),
            "counts the prediction made at position 0": of_answer(added, 0),
            "is of the token that the model reads, not of the one that comes next":
            (added - added.mean(-1, keepdim=True))[:, 1:-1].gather(2, tokens[:, 1:-1, None]).mean(),
        }  # fmt: skip
        name_mistake(direct, mistakes, f"Of head {name} the direct effect, {direct:.4g}, {{}}.", EXACT, want)
        require_close(direct, want, f"Of head {name} the direct effect", EXACT, "Only what the head itself writes.")
        mistakes = {
            "has the wrong sign: a fall counts up": -fall,
            "is not taken less the mean over the vocabulary":
            of_answer(logits, centred=False) - of_answer(without, centred=False),
            "counts the prediction made at position 0": of_answer(logits, 0) - of_answer(without, 0),
            "is only the direct effect again: run the model without the head": want,
            "is of log-probabilities: take logits": of_answer(logits.log_softmax(-1), centred=False)
            - of_answer(without.log_softmax(-1), centred=False),
        }  # fmt: skip
        name_mistake(whole, mistakes, f"Of head {name} the effect in all, {whole:.4g}, {{}}.", EXACT, fall)
        require_close(whole, fall, f"Of head {name} the effect in all", EXACT, "Run it with the head put to zero.")
    return "What the two differ by is what others make of the head."


@exercise("Exercise 12.4")
def told_by(answer) -> str:
    for seed, later in ((7, (2, 1)), (8, (1, 3))):
        model = _model(seed)
        before = {name: weight.clone() for name, weight in model.named_parameters()}
        got = answer(model, later)
        got = numbers(got, "The table")
        changed = any(not torch.equal(weight, before[name]) for name, weight in model.named_parameters())
        require(not changed, "You changed the model's weights: multiply into new tensors.")
        layer, head = later
        want_shape = [layer, SMALL.n_heads]
        require(list(got.shape) == want_shape, f"The table has shape {list(got.shape)}, expected {want_shape}.")

        def table(read, norms=True, over=True, model=model, layer=layer):
            rows = []
            for at in range(layer):
                inner = model.ln1_w[at][:, None] if norms else 1
                written = inner * model.W_V[at] @ model.W_O[at]
                size = written.flatten(1).norm(dim=1) * read.norm() if over else 1
                rows.append((written @ read).flatten(1).norm(dim=1) / size)
            return torch.stack(rows)

        folded = model.ln1_w[layer][:, None]
        W_Q, W_K = (weight[layer, head] for weight in (model.W_Q, model.W_K))
        want = table(folded * W_Q)
        mistakes = {
            "leaves out the norms' weights": table(W_Q, norms=False),
            "leaves out the norm of the later layer": table(W_Q),
            "leaves out the norms of the earlier layers": table(folded * W_Q, norms=False),
            "is K-composition: take W_Q": table(folded * W_K),
            "is V-composition: take W_Q": table(folded * model.W_V[layer, head]),
            "takes the whole W_QK: only W_Q is asked for": table(folded * W_Q @ (folded * W_K).T),
            "is not divided by the two norms": table(folded * W_Q, over=False),
            "is of another head": table(folded * model.W_Q[layer, head - 1]),
        }
        name_mistake(got, mistakes, f"The table for {layer}.{head} {{}}.", EXACT, want)
        require_close(
            got, want, f"The composition with {layer}.{head}", EXACT, "‖W_OV W_Q‖ / (‖W_OV‖ ‖W_Q‖), norms in."
        )
    return "And it needs no distance: a rotation keeps lengths."


@exercise("Exercise 12.5")
def carriers(answer) -> str:
    model = _model(9)
    clean = drawn_tokens(SMALL.d_vocab, (1, 8), 10)
    changed = clean.clone()
    changed[0, 3] = (clean[0, 3] + 5) % (SMALL.d_vocab - 1) + 1
    said = lambda logits, at=-1: logits[:, at].log_softmax(-1)[:, want_token]  # noqa: E731
    want_token = 6
    got = numbers(answer(model, clean.clone(), changed.clone(), want_token), "The table")
    shape = [SMALL.n_layers, SMALL.n_heads]
    require(list(got.shape) == shape, f"The table has shape {list(got.shape)}, expected {shape}.")

    def swapped(into, source, read=said, places=slice(None), whole_layer=False, zero=False):
        rows = torch.zeros(shape, dtype=torch.float64)
        z = model.run_with_cache(source)[1].z
        for at in range(SMALL.n_layers):
            for head in range(SMALL.n_heads):
                heads = slice(None) if whole_layer else head

                def edit(name, value, layer, cache, at=at, heads=heads):
                    if (name, layer) == ("z", at):
                        value[:, heads, places] = 0 if zero else z[at][:, heads, places]
                    return value

                rows[at, head] = read(model.run_with_cache(into, edit)[0])[0]
        return rows

    logit = lambda logits: logits[:, -1, want_token]  # noqa: E731
    likely = lambda logits: logits[:, -1].softmax(-1)[:, want_token]  # noqa: E731
    (high, low), patched = (said(model(tokens)) for tokens in (clean, changed)), swapped(changed, clean)

    def share(read, rows):
        high, low = (read(model(tokens)) for tokens in (clean, changed))
        return (rows - low) / (high - low)

    want = (patched - low) / (high - low)
    mistakes = {
        "is not a share: take off what the changed prompt gives, and divide by the whole difference": patched,
        "is not divided by the whole difference": patched - low,
        "is what is lost: count what comes back": 1 - want,
        "goes the other way: put the clean run's outputs into the changed prompt": share(said, swapped(clean, changed)),
        "puts zeros in, not the clean run's outputs": share(said, swapped(changed, clean, zero=True)),
        "puts whole layers in, not single heads": share(said, swapped(changed, clean, whole_layer=True)),
        "puts the outputs in at the last position only: at all of them": share(
            said, swapped(changed, clean, places=slice(-1, None))
        ),
        "is of logits: take log-probabilities": share(logit, swapped(changed, clean, logit)),
        "is of probabilities: take their logarithms": share(likely, swapped(changed, clean, likely)),
    }
    name_mistake(got, mistakes, "The table {}.", EXACT, want)
    require_close(got, want, "The share that comes back", EXACT, "One head at a time, all its positions.")
    return "Patching says where the difference runs; a cut says whether it is needed."


def _model(seed: int) -> Transformer:
    """Random weights in 64 bits: heads as loud as the embedding, norms that are not one, keys shared in pairs."""
    model = Transformer.init(SMALL, seed).double().requires_grad_(False)
    model.W_O.mul_(4)
    for number, name in enumerate(("ln1_w", "ln2_w", "ln_final_w")):
        weight = getattr(model, name)
        weight.copy_(1 + 0.5 * normal(tuple(weight.shape), seed + 100 + number))
    size = SMALL.n_heads // SMALL.n_key_heads
    for weight in (model.W_K, model.W_V):
        weight.copy_(weight[:, ::size].repeat_interleave(size, dim=1))
    return model


def _text(seed: int) -> torch.Tensor:
    """Three lines, the start token first."""
    return torch.nn.functional.pad(drawn_tokens(SMALL.d_vocab, (3, 8), seed), (1, 0))


def _without(model: Transformer, tokens: torch.Tensor, head: tuple[int, int]) -> torch.Tensor:
    """Logits with a head's output matrix put to zero."""
    kept = model.W_O[head].clone()
    model.W_O[head] = 0
    logits = model(tokens)
    model.W_O[head] = kept
    return logits


def _in_halves(q, k, distance, base):
    """The score with coordinate p paired with p + d_head / 2."""
    mixed = torch.stack(q.chunk(2)).T.flatten(), torch.stack(k.chunk(2)).T.flatten()
    return rotated(mixed[0][None], base, first=distance)[0] @ mixed[1] / len(q) ** 0.5


def _slower(q, k, distance, base):
    """The score with angles of base^(−p / d_head)."""
    return rotated(q[None], base**0.5, first=distance)[0] @ k / len(q) ** 0.5
