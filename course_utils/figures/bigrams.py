"""What comes next after any token, by the zero-layer weights and by the counts (chapter 2)."""

from typing import Annotated

import numpy as np
from jaxtyping import Float
from torch import Tensor

from course_utils.checked import checked, within
from course_utils.corpus import Counts, load_tokenizer
from course_utils.errors import CourseError
from course_utils.figures.host import Explorable, Texts, code, packed, table, visible

ROWS = 12  # next tokens of each token
MOST = 900  # tokens with their next tokens: more would be over 200 kB


@checked
def bigrams_figure(
    log_probs: Float[Tensor, "d_vocab d_vocab"],
    counts: Counts,
    interesting: Texts = (" def",),
    *,
    carried: Annotated[int, within(1, MOST)] = 600,
) -> Explorable:
    """The next tokens after a token, by a model's table and by counts, for the most frequent tokens.

    `log_probs`: the model's table of log-probabilities [present token, next token]. `counts`: the text's pairs, of the
    same shape, sparse. `interesting`: texts of one token each, offered as buttons; the first is shown at first.
    `carried`: how many tokens can be asked for (900 at most): these and the most frequent. Of each the 12 next tokens
    are carried to which the model or the text gives most.
    """
    tokenizer = load_tokenizer(counts.shape[0])
    starred = [tokenizer.one(text) for text in interesting]
    total = counts.sum(1)
    for text, token in zip(interesting, starred, strict=True):
        if not total[token]:
            raise CourseError(f"{text!r} is interesting", "the text must have it", "name a token that occurs")
    frequent = [token for token in np.argsort(-total, kind="stable").tolist() if total[token]]
    sources = list(dict.fromkeys([*starred, *frequent]))[: max(carried, len(starred))]
    best, both = _next(log_probs[sources].cpu().double().exp().numpy(), counts[sources].toarray())
    data = {
        "words": [visible(tokenizer.show(token)) for token in range(tokenizer.d_vocab)],
        "sources": sources,
        "seen": [int(total[a]) for a in sources],
        "interesting": len(starred),
        "after": packed(best, 16),
        "share": packed(both, 16),  # [source, next token, by the weights or the counts]
    }
    return Explorable("bigrams", data, _plain(data, best, both))


def _next(said: np.ndarray, counted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each row the tokens to which the model or the text gives most, and both probabilities [row, token, 2]."""
    both = np.stack([said, counted / counted.sum(axis=1, keepdims=True)], axis=2)
    best = np.argpartition(-both.max(axis=2), ROWS, axis=1)[:, :ROWS]
    best = np.take_along_axis(best, np.argsort(-np.take_along_axis(said, best, axis=1), axis=1), axis=1)
    return best, np.take_along_axis(both, best[:, :, None], axis=1)


def _plain(data: dict, best, both) -> str:
    rows = []
    for source, after, share in list(zip(data["sources"], best, both, strict=True))[: data["interesting"]]:
        cells = [
            ", ".join(f"{code(data['words'][after[i]])} {share[i, by]:.1%}" for i in np.argsort(-share[:, by])[:5])
            for by in range(2)
        ]
        rows.append([code(data["words"][source]), *cells])
    return table(["After", "By the weights", "By the counts"], rows, "The most likely next tokens")
