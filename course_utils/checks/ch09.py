"""Exercises of chapter 9, "How much does the explanation explain?".

Three checkers use small examples, worked out another way. The last runs the answer on the trained model.
"""

from functools import cache

import torch

from course_utils import corpus
from course_utils.causal_scrubbing import partners, recovered_share, scrub, summed_losses
from course_utils.checkpoints import load_model
from course_utils.checks.base import (
    Wrong,
    drawn_tokens,
    exercise,
    name_mistake,
    numbers,
    require,
    require_close,
    small_model,
)
from course_utils.config import ModelConfig
from course_utils.roles import heads_of
from course_utils.scores import successors

SMALL = ModelConfig(n_layers=2, n_heads=3, d_model=14, d_head=5, d_vocab=17, n_ctx=16)
EXACT = 1e-8
PARTS, SHARE = 5, 0.9  # of exercise 9.4


@exercise("Exercise 9.1")
def fair_partners(answer) -> str:
    for documents in (
        [0, 1, 2],
        [0, 0, 1, 1],
        [5, 5, 2, 2, 2, 9, 9],
        [3, 1, 3, 1, 2, 2, 4],
        [7, 8] * 6,
        list(range(9)),
    ):
        got = answer(list(documents))
        require(got is not None, "The answer is None: does your function return something?")
        got = [int(i) for i in got]
        shown = f"For documents {documents}: {got}"
        require(len(got) == len(documents), f"{shown}. There are {len(documents)} texts, and {len(got)} partners.")
        require(set(got) <= set(range(len(got))), f"{shown}. Give the numbers of texts, 0 to {len(got) - 1}.")
        alone = [i for i, other in enumerate(got) if other == i]
        require(not alone, f"{shown}. Text {alone[:1]} is its own partner.")
        same = [i for i, other in enumerate(got) if documents[i] == documents[other]]
        require(not same, f"{shown}. Text {same[:1]} has a partner of its own document.")
        require(sorted(got) == list(range(len(got))), f"{shown}. Each text is to be used once.")
    return "What is exchanged should have nothing in common with the text but its place."


@exercise("Exercise 9.2")
def answer_was_there(answer) -> str:
    for seed in range(3):
        tokens = drawn_tokens(5, (3, 15), seed) - 1  # token 0 comes again, too
        got = answer(tokens.clone())
        require(got is not None, "The answer is None: does your function return something?")
        got = torch.as_tensor(got)
        shape = list(tokens.shape)
        require(list(got.shape) == shape, f"The table has shape {list(got.shape)}, expected {shape}.")
        require(got.dtype == torch.bool, f"Return True and False, not {got.dtype}: compare, and use .any().")
        want, known, includes, any_place = (torch.zeros_like(got) for _ in range(4))
        for row, ids in enumerate(tokens.tolist()):
            for i in range(len(ids) - 1):
                followed = [ids[j + 1] for j in range(i) if ids[j] == ids[i]]
                want[row, i], known[row, i] = ids[i + 1] in followed, bool(followed)
                includes[row, i] = True  # the pair itself counted as an earlier one
                any_place[row, i] = ids[i + 1] in ids[: i + 1]
        mistakes = {
            "is True wherever the token occurred before: the next token must be one that followed it": known,
            "counts the pair itself: only earlier occurrences": includes,
            "is True wherever the next token occurred before, whatever stood before it": any_place,
            "is False where it should be True, and the other way round": ~want,
        }
        for what, wrong in mistakes.items():
            require(not torch.equal(got, wrong) or torch.equal(wrong, want), f"The table {what}.")
        far = (got != want).nonzero()
        if len(far):
            row, i = far[0].tolist()
            ids = tokens[row, : i + 2].tolist()
            require(i < tokens.shape[1] - 1, "The last position has no token after it: False.")
            raise Wrong(
                f"At position {i} of the tokens {ids}, where {ids[-1]} comes next, yours is {bool(got[row, i])}, "
                f"expected {bool(want[row, i])}."
            )
    return "There an induction head is right; elsewhere it is a distraction."


@exercise("Exercise 9.3")
def if_it_looked_back(answer) -> str:
    for seed, head in ((0, 1), (1, 2)):
        model, tokens = small_model(SMALL, seed), torch.nn.functional.pad(drawn_tokens(17, (3, 9), seed), (1, 0))
        got = numbers(answer(model, tokens.clone(), head), "What it writes")
        pattern = torch.zeros(3, 10, 10, dtype=torch.float64)
        pattern[:, 0, 0] = 1
        pattern[:, range(1, 10), range(9)] = 1
        x = model.embed(tokens)
        written = lambda pattern, head=head, x=x, model=model: pattern @ x @ model.W_V[0, head] @ model.W_O[0, head]  # noqa: E731
        want, shape = written(pattern), [3, 10, 14]
        require(list(got.shape) == shape, f"What it writes has shape {list(got.shape)}, expected {shape}.")
        nothing, around = pattern.clone(), torch.eye(10, dtype=torch.float64).roll(-1, 1).expand(3, -1, -1)
        nothing[:, 0] = 0
        mistakes = {
            "is what the head really writes: it is to look at the token before, and nowhere else":
            model.run_with_cache(tokens)[1].head_out(0, head),
            "is of the token itself: shift by one position": written(torch.eye(10, dtype=torch.float64)),
            "is of the token after: shift the other way": written(around.mT),
            "is zero at position 0: there it looks at that position": written(nothing),
            "has at position 0 the last token: nothing stands before": written(around),
            "is of another head": written(pattern, head - 1),
            "holds positions: values read none": written(pattern, x=x + model.W_pos[:10]),
            "is of layer 1": pattern @ x @ model.W_V[1, head] @ model.W_O[1, head],
        }  # fmt: skip
        name_mistake(got, mistakes, "What it writes {}.", EXACT, want)
        require_close(got, want, "What it writes", EXACT)
    return "If the second rung loses nothing by it, the explanation reaches down to the tokens."


@exercise("Exercise 9.4")
def my_explanation(answer) -> str:
    got = answer()
    require(
        isinstance(got, dict) and {"q", "k"} <= set(got),
        'Return a dict with "q" and "k", e.g. {"q": ["token"], "k": [8]}.',
    )
    parts = {side: list(got[side]) for side in "qk"}
    named = [part for side in parts.values() for part in side]
    require("everything" not in named, 'An explanation that keeps "everything" explains nothing: name parts.')
    of_this = "token", *range(12)
    require(all(part in of_this for part in named), f'{named}: each part is "token" or the number of a head, 0 to 11.')
    require(len(named) <= PARTS, f"That is {len(named)} parts in queries and keys together; at most {PARTS}.")
    require(all(len(set(side)) == len(side) for side in parts.values()), "A part that is named twice counts twice.")
    model, tokens, counted, heads, whole, scrubbed = _on_trial()
    edit = scrub(model, heads, {**parts, "v": ["everything"]}, partners(len(tokens), 1))
    share = recovered_share(whole, scrubbed, summed_losses(model, tokens, counted, edit))
    says = f"{len(named)} parts recover {share:.3f}"
    require(share >= SHARE, f"{says}; {SHARE} or more is asked for. Exchange a part or add one, and look again.")
    return f"{says}."


@cache
def _on_trial():
    """The trained model, twelve texts like the page's and none of them, and their losses: as they are, all scrubbed."""
    model, heads = load_model("two-layer", "cpu"), [head for _, head in heads_of("two-layer", "induction")]
    sixty = corpus.spread(corpus.middle_windows(corpus.load_text("validation"), 256), 60)
    tokens = sixty[2::5]  # the page shows sixty[::5]
    counted = successors(tokens).any(-1)
    edits = None, scrub(model, heads, {}, partners(len(tokens), 1))
    return model, tokens, counted, heads, *(summed_losses(model, tokens, counted, edit) for edit in edits)
