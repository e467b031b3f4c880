"""The opening: a line of random words that come again. The reader guesses the next one, and so does the model."""

import random

import torch

from course_utils.checkpoints import load_model
from course_utils.corpus import load_tokenizer
from course_utils.figures.host import Explorable, code, table
from course_utils.figures.induction_lab import whole_words
from course_utils.interventions import run_without
from course_utils.roles import heads_of

WORDS, OFFERED, LINES = 6, 4, 150
SHOWN = 47  # the line that is played: the one on which the model is surest at every word


def opening_figure() -> Explorable:
    """Guess the next of six random words that come again; the two-layer model answers, with and without one head.

    Both choose among the same four words: what is shown of the model is its probability of each, of the four together.
    """
    model, tokenizer = load_model("two-layer", "cpu"), load_tokenizer()
    [previous], induction = heads_of("two-layer", "previous"), heads_of("two-layer", "induction")[0]
    some = [word for word in whole_words() if len(word) <= 6]
    lines = [random.Random(seed).sample(some, WORDS) for seed in range(LINES)]
    tokens = torch.tensor([[tokenizer.start_id, *(tokenizer.one(f" {word}") for word in line * 2)] for line in lines])
    with torch.no_grad():
        runs = [model.run_with_cache(tokens), run_without(model, tokens, [previous])]
    steps = [
        [_step(runs, tokens, line, place, induction, previous) for place in range(WORDS - 1)] for line in range(LINES)
    ]
    mean = [sum(step["shares"][side][step["right"]] for line in steps for step in line) for side in (0, 1)]
    words = lines[SHOWN]
    for step in steps[SHOWN]:
        step["offered"] = [words[i] for i in step["offered"]]
    data = {
        "words": words,
        "steps": steps[SHOWN],
        "mean": [round(total / (LINES * (WORDS - 1)), 3) for total in mean],
        "lines": LINES,
        "heads": [f"{layer}.{head}" for layer, head in (previous, induction)],
    }
    return Explorable("opening", data, _plain(data))


def _step(runs, tokens, line: int, place: int, induction: tuple, previous: tuple) -> dict:
    """At one word of the second copy: what is offered, what the model makes of it, and where the two heads look."""
    at = 1 + WORDS + place  # the position of the present word; the words begin after the start token
    right, draw = place + 1, random.Random(1000 * line + place)
    others = [i for i in range(WORDS) if i not in (place, right)]
    offered = draw.sample([right, *draw.sample(others, OFFERED - 1)], OFFERED)
    ids = tokens[line, [1 + i for i in offered]]
    shares = [(logits[line, at, ids]).softmax(-1) for logits, _ in runs]
    looks = [cache.pattern[induction[0], line, induction[1], at] for _, cache in runs]
    key = 1 + right  # what followed this word the last time
    back = runs[0][1].pattern[previous[0], line, previous[1], key, key - 1]
    return {
        "offered": offered,
        "right": offered.index(right),
        "shares": [[round(share, 3) for share in each.tolist()] for each in shares],
        "look": [round(look[key].item(), 3) for look in looks],
        "back": round(back.item(), 3),
    }


def _plain(data: dict) -> str:
    words = data["words"]
    rows = []
    for place, step in enumerate(data["steps"]):
        answers = [each[step["right"]] for each in step["shares"]]
        rows.append([code(words[place]), code(words[place + 1]), *(f"{share:.0%}" for share in answers)])
    line = " ".join(map(code, words * 2))
    heads = ["after", "comes", "the model", f"without head {data['heads'][0]}"]
    caption = "What the two-layer model gives to the right one of four words, in the second copy"
    return f"<p>{line}</p>\n{table(heads, rows, caption)}"
