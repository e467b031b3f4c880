"""Exercises of chapter 2, "Zero layers: bigrams".

Each checker makes small texts, tables and models, works out the answer by itself, and compares; where the exercise ends
in a finding it does so on trained models, too.
"""

import copy
import math
from itertools import pairwise

import torch
from torch import Tensor

from course_utils import bigrams
from course_utils.checkpoints import load_model
from course_utils.checks.base import (
    Wrong,
    close,
    drawn_tokens,
    exercise,
    name_mistake,
    normal,
    numbers,
    one_number,
    require,
    require_close,
    require_given,
    second_half,
    small_model,
)
from course_utils.config import ModelConfig
from course_utils.corpus import (
    bigram_counts,
    common_tokens,
    count_bigrams,
    load_text,
    load_tokenizer,
    spread,
    token_counts,
    windows,
)
from course_utils.losses import loss_by_position
from course_utils.model import AttentionOnlyTransformer

START, D_VOCAB = 0, 6
PASSAGE = 30_000  # tokens
# Two documents. The pair (5, 0) crosses from one into the other; token 4 never comes before another.
TEXT = [START, 3, 1, 2, 1, 2, 5, START, 2, 1, 2, 2, 3, 4]
SMALL = {"n_heads": 2, "d_model": 5, "d_head": 3, "d_vocab": 11, "n_ctx": 9}


@exercise("Exercise 2.1")
def count_pairs(answer, most_missing) -> str:
    other = 5  # a start token need not be 0
    texts = ([START, 1, 2], TEXT, [START, 3, START, 3], [other, 0, 1, other, 0, 0, 2], [other, other, 1, 1])
    for tokens in texts:
        start = tokens[0]
        want = _pairs(tokens, start)
        got = _table(answer(list(tokens), D_VOCAB, start), "Your table", (D_VOCAB, D_VOCAB))
        if not close(got, want):
            if close(got, want.T):
                raise Wrong("The table is transposed: rows are the present token, columns the next one.")
            if start != START and close(got, _pairs(tokens, START)):
                raise Wrong(f"The start token is taken to be {START}; here start_id is {start}.")
            with_start = _pairs(tokens, None)
            start_pairs = got[start].sum() + got[:, start].sum()
            require(start_pairs == 0, f"{start_pairs:g} pairs with the start token are counted; leave them out.")
            joined = _pairs([t for t in tokens if t != start], None)
            if close(got, joined) and not close(with_start, joined):
                raise Wrong(f"In {tokens} a pair was counted across two documents; the start token parts them.")
            require(got.sum() == want.sum(), f"{got.sum():g} pairs are counted in {tokens}, expected {want.sum():g}.")
        require_close(got, want, f"The table of {tokens}")

    for name, (tokens, d_vocab, start) in _texts_to_miss_in().items():
        got = second_half(most_missing, "most_missing", "The pairs are counted.", list(tokens), d_vocab, start)
        _judge_missing(got, name, tokens, d_vocab, start)
    kinds, text = load_text("validation")[:PASSAGE].unique(return_inverse=True)
    now, after, missing = _most_missing(*_table_of(text.tolist(), len(kinds), 0))
    pair = " before ".join(f"`{load_tokenizer().show(int(kinds[each]))}`" for each in (now, after))
    by_chance = _most_missing(*_table_of(_shuffled(text), len(kinds), 0))[2]
    return (
        "Every pair is counted once, and none that contains the start token. In the validation text's first "
        f"{PASSAGE} tokens {pair} is missing {missing:.0f} times; shuffled, no pair more than {by_chance:.0f} times."
    )


def _judge_missing(got, name: str, tokens: list[int], d_vocab: int, start: int) -> None:
    counts, expected = _table_of(tokens, d_vocab, start)
    n, m = counts.sum(dim=1), counts.sum(dim=0)
    got = _table(got, "Present token, next token and how many are missing", (3,))
    now, after, missing = want = _most_missing(counts, expected)
    often, by_chance = counts[now, after].item(), expected[now, after].item()
    place = tuple(got[:2].tolist())
    pairs = {
        "Present and next are exchanged.": (after, now),
        "That pair comes most often beyond what is expected: look for the one that falls short.":
            _most_missing(expected, counts)[:2],
        "That is the pair that is expected most: take off how often it comes.":
            _most_missing(0 * counts, expected)[:2],
    }  # fmt: skip
    amounts = {
        "That is how often the pair comes: return how many are missing.": often,
        "That is how often the pair is expected: take off how often it comes.": by_chance,
        "Your m(b) is n(b): m counts the pairs that end with b, it is a sum along the other axis.":
            n[now] * n[after] / counts.sum() - often,
        "Your n(a) is m(a): n counts the pairs that begin with a, it is a sum along the other axis.":
            m[now] * m[after] / counts.sum() - often,
        "N is the number of pairs that you counted, not of tokens.": by_chance * counts.sum() / len(tokens) - often,
        "The sign is the other way: expected, less counted.": -missing,
    }  # fmt: skip
    if place == (now, after):
        hint = next((says for says, wrong in amounts.items() if close(got[2], wrong, 1e-2)), "")
    else:
        hint = next((says for says, wrong in pairs.items() if place == wrong), "")
        if not hint and all(token in range(d_vocab) for token in place):
            pair = int(place[0]), int(place[1])
            if counts[pair] * by_chance <= often * expected[pair]:
                hint = "In proportion it falls as far short, or farther: take the difference, or rare tokens win."
    told = f"you say pair ({got[0]:g}, {got[1]:g}), {got[2]:.2f} missing; expected ({now}, {after}), {missing:.2f}."
    require(close(got, want, 1e-2), f"For {name} {told} {hint}".strip())


@exercise("Exercise 2.2")
def next_token(answer, surest) -> str:
    W_E, W_U = normal((7, 3), 0), 2 * normal((3, 7), 1)
    table = (W_E @ W_U).softmax(dim=1)
    for token in (4, 0):
        got = _table(answer(W_E, W_U, token), "Your answer", (7,))
        require(not close(got, W_E[token] @ W_U), "Those are logits: softmax makes them probabilities.")
        require(bool((got >= 0).all()), f"A probability is {got.min():.3g}, expected none below 0.")
        total = got.sum()
        require(abs(total - 1) < 1e-6, f"The probabilities sum to {total:.4g}, expected 1: divide by their sum.")
        if close(got, (W_U.T @ W_E.T).softmax(dim=1)[token]) and not close(got, table[token]):
            raise Wrong("That is a column of W_E W_U: the present token picks the row.")
        require_close(got, table[token], f"The probabilities after token {token}", 1e-6)
    shifted = _table(answer(W_E, W_U + 1000 * torch.ones(3, 1), 2), "Your answer", (7,))
    require(bool(shifted.isfinite().all()), "With large logits an exponential overflows: use torch.softmax.")

    trained = load_model("zero-layer", "cpu").double()
    common = common_tokens()
    renamed, new = _renamed(trained)
    cases = {
        "a small model": ((W_E, W_U), torch.tensor([5, 1, 6, 2])),
        "the trained model": ((trained.W_E, trained.W_U), common),
        "the trained model with its tokens renamed": ((renamed.W_E, renamed.W_U), new[common]),
        "an untrained model": (_weights(small_model(ModelConfig(n_layers=0, **SMALL), 4)), torch.tensor([9, 4, 3, 7])),
    }
    for name, ((W_E, W_U), tokens) in cases.items():
        log_probs = (W_E @ W_U).log_softmax(dim=1)
        entropy = -(log_probs.exp() * log_probs).sum(dim=1)
        want = tokens[entropy[tokens].argmin()].item()
        got = second_half(surest, "surest", "The probabilities are those of the row.", W_E, W_U, tokens.clone())
        got = int(got)
        slips = {
            "That is its place in the list, not the token.": entropy[tokens].argmin(),
            "That is the token after which the model is least sure.": tokens[entropy[tokens].argmax()],
            "That is the surest of the whole vocabulary: choose among the tokens given.": entropy.argmin(),
            "There the sum of squared probabilities is smallest: the sign is the other way.": tokens[
                log_probs.exp().square().sum(1)[tokens].argmin()
            ],
        }
        for message, wrong in slips.items():
            require(
                want == int(wrong) or got != int(wrong), f"For {name} your token is {got}, expected {want}. {message}"
            )
        require(got == want, f"For {name} your token is {got}, expected {want}: the one with the least entropy.")
    return "One row of W_E W_U, made to sum to 1; and of many rows the surest."


@exercise("Exercise 2.3")
def cross_entropy(answer, context_helps) -> str:
    log_probs = normal((D_VOCAB, D_VOCAB), 2).log_softmax(dim=1)
    for start in (START, 5):
        _judge_loss(answer, log_probs, [{START: start, start: START}.get(token, token) for token in TEXT], start)

    trained = {name: load_model(name, "cpu") for name in ("zero-layer", "one-layer", "two-layer")}
    text = spread(windows(load_text("validation"), 256), 4)[:, :100]
    small = [small_model(ModelConfig(n_layers=layers, **SMALL), layers) for layers in (0, 2)]
    cases = {
        "small models": (*small, drawn_tokens(SMALL["d_vocab"], (3, 8), 7)),
        "the trained models with zero and two layers": (trained["zero-layer"], trained["two-layer"], text),
        "those with one layer and two": (trained["one-layer"], trained["two-layer"], text),
    }
    for name, (before, after, tokens) in cases.items():
        gain = (loss_by_position(before, tokens) - loss_by_position(after, tokens)).double()
        vocab = before.cfg.d_vocab

        def by(which, gain, vocab=vocab):
            return torch.zeros(vocab, dtype=torch.float64).index_add(0, which.flatten(), gain.flatten())

        want = by(tokens[:, 1:-1], gain[:, 1:])
        often = by(tokens[:, 1:-1], torch.ones_like(gain[:, 1:]))
        got = second_half(context_helps, "context_helps", "The loss is right.", before, after, tokens.clone())
        got = _table(got, f"The gain by token, for {name},", (vocab,))
        slips = {
            "The sign is the other way: what the first model loses more than the second.": -want,
            "The prediction at position 0 is counted: leave it out.": by(tokens[:, :-1], gain),
            "That is the gain by the next token: sort by the present one.": by(tokens[:, 2:], gain[:, 1:]),
            "That is the mean for each token: take the sum, or rare tokens win.": want / often.clamp(min=1),
            "That is the loss of the first model alone.": by(
                tokens[:, 1:-1], loss_by_position(before, tokens)[:, 1:].double()
            ),
        }
        name_mistake(got, slips, tolerance=1e-3, want=want)
        require_close(got, want, f"The gain by token, for {name},", 1e-2)
    return "Mean of minus the log-probability, in nats; and where a context saves most of them."


def _judge_loss(answer, log_probs: Tensor, text: list[int], start: int) -> None:
    pairs, with_start = _pairs(text, start), _pairs(text, None)

    def mean(counts, values):
        return (counts * values).sum() / counts.sum()

    want = mean(pairs, -log_probs)
    got = answer(log_probs, list(text), start)
    require_given(got, "The loss")
    got = _table(got, "The loss", ())
    known = {
        f"The start token is taken to be {START}; here start_id is {start}.": mean(_pairs(text, START), -log_probs),
        "You divide by the number of tokens: divide by the number of pairs that you kept.": want
        * pairs.sum()
        / len(text),
        "You divide by the number of all pairs: divide by the number of those that you kept.": want
        * pairs.sum()
        / (len(text) - 1),
        "Pairs with the start token are in it: leave them out.": mean(with_start, -log_probs),
        "The sign is wrong: a loss is minus a log-probability.": -want,
        "It is in bits: use the natural logarithm, which log_probs has.": want / math.log(2),
        "That is the sum: divide by the number of pairs.": want * pairs.sum(),
        "Every pair counts once there, however often it occurs.": -log_probs[pairs > 0].mean(),
        "That is the average probability, not the average log-probability.": mean(pairs, log_probs.exp()),
        "Row and column are exchanged: log_probs is [present token, next token].": mean(pairs.T, -log_probs),
    }
    name_mistake(got, known, f"The loss is {got:.4f}, expected {want:.4f}. {{}}", want=want)
    require_close(got, want, "The loss", 1e-6)


@exercise("Exercise 2.4")
def smooth(answer, best_k) -> str:
    counts = _pairs(TEXT, START)
    for k in (1.0, 0.25):
        got = _table(answer(counts.clone(), k), "Your table", (D_VOCAB, D_VOCAB))
        row = [round(value, 3) for value in got[4].tolist()]
        require(bool(got[4].isfinite().all()), f"Row 4 is {row}: its token was never seen, yet it needs probabilities.")
        sums = got.sum(1)
        worst = (sums - 1).abs().argmax()
        hint = "k is added to each of the d_vocab cells, so a row's total grows by k × d_vocab."
        require(abs(sums[worst] - 1) < 1e-6, f"Row {int(worst)} sums to {sums[worst]:.4f}, expected 1. {hint}")
        require(bool((got > 0).all()), f"With k = {k} a probability is 0: add k to the cells without a count too.")
        if k != 1 and close(got, _add(counts, 1.0)):
            raise Wrong(f"With k = {k} you added 1 to each count, expected {k}.")
        require_close(got, _add(counts, k), f"The table for k = {k}", 1e-6)

    possible = None
    for name, given in _texts_to_smooth().items():
        tables = (each.clone() for each in given[:2])
        got = second_half(best_k, "best_k", "Every row sums to 1.", *tables, list(given[2]))
        possible = _judge_k(got, name, *given, possible)
    counts, held_out = bigram_counts(), count_bigrams(load_text("validation"), 4096)
    loss = {k: bigrams.loss(bigrams.add_k(counts, k), held_out) for k in (1, 0.3, 0.1, 0.03, 0.01, 0.003)}
    best = min(loss, key=loss.get)
    return (
        f"No pair is impossible any more. With the counts of the whole text new text does best with {best} added, by "
        f"{loss[1] - loss[best]:.2f} nats better than with 1; the counted text itself always wants the least."
    )


def _judge_k(
    got, name: str, counts: Tensor, held_out: Tensor, ks: list[float], possible: list[str] | None
) -> list[str]:
    """The slips that agree with this answer, of those that agreed with all before."""
    got = one_number(got, "k")
    require(
        any(math.isclose(got, k, rel_tol=1e-5) for k in ks), f"For {name} your k is {got:g}, which is none of {ks}."
    )

    def best(tables, pairs, ks=ks) -> float:
        return min(ks, key=lambda k: -(pairs * _add(tables, k).log()).sum().item())

    want = best(counts, held_out)
    slips = {
        "That is best on the text that was counted itself, which tests nothing.": best(counts, counts),
        "That is where the loss is largest.": min(ks, key=lambda k: (held_out * _add(counts, k).log()).sum().item()),
        "That is what the held-out counts would need, tested on the others.": best(held_out, counts),
        "Every pair counts once there: weigh it by how often it comes.": best(counts, (held_out > 0).double()),
        "All pairs count alike there: weigh each by how often it comes.": best(counts, torch.ones_like(held_out)),
    }
    agree = [says for says, wrong in slips.items() if math.isclose(got, wrong, rel_tol=1e-5)]
    agree = [says for says in agree if possible is None or says in possible]
    hint = " Or: ".join(agree)
    require(math.isclose(got, want, rel_tol=1e-5), f"For {name} your k is {got:g}, expected {want:g}. {hint}".strip())
    return agree


def _texts_to_smooth() -> dict[str, tuple[Tensor, Tensor, list[float]]]:
    """Counts, counts of other text, and what may be added."""
    often = token_counts().topk(200).indices.numpy()
    text = load_text("validation")

    def block(counts) -> Tensor:
        return torch.from_numpy(counts[often][:, often].toarray()).double()

    whole, other = block(bigram_counts()), block(count_bigrams(text, 4096))
    little = block(count_bigrams(text[:100_000], 4096))
    chance = drawn_tokens(D_VOCAB, (400,), 8).tolist()
    frequent, rare = torch.zeros(2, D_VOCAB, D_VOCAB, dtype=torch.float64)
    frequent[0, 1], rare[range(1, 5), range(2, 6)] = 100, 1
    return {
        "a small text": (_pairs(TEXT, START), _pairs(TEXT[4:], START), [3.0, 0.5, 0.01]),
        "tokens drawn by chance": (_pairs(chance[:60], START), _pairs(chance, START), [0.01, 0.3, 30.0]),
        "the trained model's text": (whole, other, [30.0, 3.0, 0.5, 0.001]),
        "less text": (little, other, [10.0, 2.0, 0.2, 0.02]),
        "the text that was counted itself": (little, little, [1.0, 0.1, 0.001, 0.01]),
        "one frequent token and four rare ones": (frequent + torch.eye(D_VOCAB), frequent + rare, [3.0, 0.5, 0.01]),
    }


@exercise("Exercise 2.5")
def smallest_width(answer, width_of) -> str:
    one_row = normal((8,), 3).softmax(0).repeat(8, 1)
    tables = {
        "the table of a zero-layer model with d_model = 3": ((normal((8, 3), 4) @ normal((3, 8), 5)).softmax(1), 3),
        "a table whose rows are all the same": (one_row, 1),
        "the uniform table": (torch.full((8, 8), 1 / 8, dtype=torch.float64), 0),
        "a table drawn at random": (normal((8, 8), 6).softmax(1), 7),
    }
    for name, (P, want) in tables.items():
        got = answer(P.clone())
        require_given(got, "The width")
        got = int(got)
        if name == "the uniform table" and got == 1:  # who only forgot the constant has failed at the first table
            hint = (
                "Its logits may all be 0. If yours nearly are, rounding errors are counted: give matrix_rank an atol."
            )
        elif got == int(torch.linalg.matrix_rank(P)) != want:
            hint = "That is the rank of the probabilities: W_E W_U is a table of logits."
        elif got == int(torch.linalg.matrix_rank(P.log())) != want:
            hint = "That is the rank of log P: but a constant added to a row of logits changes no probability."
        else:
            hint = ""
        require(got == want, f"For {name} your width is {got}, expected {want}. {hint}".strip())

    trained, text = load_model("two-layer", "cpu").double(), spread(windows(load_text("validation"), 256), 2)
    wide = ModelConfig(n_layers=1, n_heads=2, d_model=23, d_head=4, d_vocab=40, n_ctx=30)
    cases = {
        "a small model": (small_model(wide, 8), drawn_tokens(wide.d_vocab, (2, 30), 8), wide.d_model),
        "the trained model": (trained, text, trained.cfg.d_model),
        "a trained model that was made narrower": (_narrowed(trained, 301), text, 301),
    }
    for name, (model, tokens, want) in cases.items():
        ask = lambda tokens, model=model: model(tokens).log_softmax(dim=-1)  # noqa: E731
        got = second_half(width_of, "width_of", "The widths of the tables are right.", ask, tokens.clone())
        got = int(got)
        hints = {
            want + 1: "One too many: log-probabilities are logits less a constant for each context.",
            min(tokens.numel(), model.cfg.d_vocab): "That is the number of contexts, or of tokens: take the logarithm.",
        }
        require(got == want, f"For {name} your width is {got}, expected {want}. {hints.get(got, '')}".strip())
    return "The rank of log P, once each row may be shifted by a constant: it gives a model's width away."


def _texts_to_miss_in() -> dict[str, tuple[list[int], int, int]]:
    """Texts, the sizes of their vocabularies and their start tokens; each has one pair that is clearly most missing."""
    small = [5, 2, 4, 2, 2, 0, 3, 4, 3, 3, 2, 2, 2, 2, 0, 2, 2, 3, 2, 5, 4, 2, 1]
    text, cases = load_text("validation"), {"a small text": (small, D_VOCAB, 5)}
    for name, at in (("the validation text", 0), ("another text, its tokens renamed", 140_000)):
        kinds, tokens = text[at : at + PASSAGE].unique(return_inverse=True)
        new = torch.randperm(len(kinds), generator=torch.Generator().manual_seed(at))
        start = int(new[kinds == load_tokenizer().start_id])
        for title, given in ((name, new[tokens].tolist()), (f"{name}, shuffled", _shuffled(new[tokens]))):
            cases[title] = (given, len(kinds), start)
    return cases


def _shuffled(tokens: Tensor) -> list[int]:
    return tokens[torch.randperm(len(tokens), generator=torch.Generator().manual_seed(1))].tolist()


def _table_of(tokens: list[int], d_vocab: int, start: int) -> tuple[Tensor, Tensor]:
    """Counts of pairs, and what they would be on the mean if order meant nothing."""
    counts = torch.from_numpy(count_bigrams(torch.tensor(tokens), d_vocab, start).toarray()).double()
    return counts, counts.sum(1, keepdim=True) * counts.sum(0) / counts.sum()


def _most_missing(counts: Tensor, expected: Tensor) -> tuple[int, int, float]:
    missing = expected - counts
    now, after = divmod(int(missing.argmax()), len(counts))
    return now, after, missing[now, after].item()


def _pairs(tokens: list[int], start: int | None) -> Tensor:
    """Counts of neighbours; those with the start token are left out, if one is named."""
    counts = torch.zeros(D_VOCAB, D_VOCAB, dtype=torch.float64)
    for now, after in pairwise(tokens):
        if start is None or start not in (now, after):
            counts[now, after] += 1
    return counts


def _weights(model: AttentionOnlyTransformer) -> tuple[Tensor, Tensor]:
    return model.W_E, model.W_U


def _renamed(model: AttentionOnlyTransformer) -> tuple[AttentionOnlyTransformer, Tensor]:
    """The model with its tokens in another order; and each old token's new name."""
    order = torch.randperm(model.cfg.d_vocab, generator=torch.Generator().manual_seed(9))
    other = copy.deepcopy(model)
    other.W_E.copy_(model.W_E[order])
    other.W_U.copy_(model.W_U[:, order])
    return other, order.argsort()


def _narrowed(model: AttentionOnlyTransformer, width: int) -> AttentionOnlyTransformer:
    """A model whose unembedding reads so many directions of the stream only."""
    other = copy.deepcopy(model)
    other.W_U[width:] = 0
    return other


def _add(counts: Tensor, k: float) -> Tensor:
    return (counts + k) / (counts + k).sum(1, keepdim=True)


def _table(got, what: str, shape: tuple[int, ...]) -> Tensor:
    """The answer in float64, if it has this shape."""
    got = numbers(got, what)
    require(got.shape == shape, f"{what} has shape {list(got.shape)}, expected {list(shape)}.")
    return got
