"""Every head of a language model that people use, on one map (chapter 12)."""

import base64
import json

import numpy as np

from course_utils.corpus import read
from course_utils.figures.host import Explorable, code, table
from course_utils.roles import heads_of, role_of

DATA = "public-heads.json"  # made by `python -m tools.public_heads`
LISTED = 12
NAMES = {
    "match": "prefix matching",
    "previous": "previous token",
    "first": "first token",
    "rise": "effect of zeroing, nats",
}
KINDS = {"induction": "induction head", "previous": "previous-token head", "": ""}


def public_heads_figure() -> Explorable:
    """The 30 × 9 heads of SmolLM2-135M: four numbers of each, and its pattern over a sentence.

    The numbers are measured beforehand, and ship: no model is loaded. A head's prefix-matching score is over repeated
    random tokens, its previous-token score and its attention to the first token over text; the effect is the rise of
    the loss on the second copy of random tokens when the head alone puts out zero.
    """
    measured = json.loads(read(DATA))
    tables = [*(measured["scores"][name] for name in ("prefix_matching", "previous_token", "first_token"))]
    values = np.stack([np.array(each) for each in [*tables, measured["rise"]]], axis=-1)
    columns, tokens = values.shape[1], measured["tokens"]
    heads = [
        {"name": f"{layer}.{head}", "kind": role_of(measured, layer, head)}
        | dict(zip(NAMES, values[layer, head].tolist(), strict=True))
        for layer, head in np.ndindex(values.shape[:2])
    ]
    layer, head = heads_of(measured, "induction")[0]
    followed = successors(tokens)
    at = layer * columns + head
    pattern = patterns(measured)[layer, head]
    data = {
        "heads": heads,
        "columns": columns,
        "keyHeads": measured["key_heads"],
        "loss": measured["loss"],
        "tokens": tokens,
        "pattern": measured["pattern"],
        "successors": followed,
        "mode": 0,
        "head": at,
        "token": max(followed, key=lambda cell: pattern[*cell])[0],
    }
    return Explorable("public_heads", data, _plain(data, patterns(measured)))


def successors(tokens: list[str]) -> list[list[int]]:
    """The [query, key] at which an induction head should look: the key follows an earlier one of the query's token."""
    return [[q, k] for q in range(len(tokens)) for k in range(1, q + 1) if tokens[k - 1] == tokens[q]]


def patterns(measured: dict) -> np.ndarray:
    """Every head's pattern over the sentence, [layer, head, query, key], as it was packed."""
    packed, n = measured["pattern"], len(measured["tokens"])
    steps = np.frombuffer(base64.b64decode(packed["data"]), np.uint8).reshape(packed["shape"])
    rows, columns = np.tril_indices(n)
    full = np.zeros((*steps.shape[:2], n, n))
    full[:, :, rows, columns] = packed["low"] + (packed["high"] - packed["low"]) * steps / 255
    return full


def _plain(data: dict, pattern: np.ndarray) -> str:
    """The strongest heads by each number; and of those that have a role, where they look in the sentence."""
    heads, tokens = data["heads"], data["tokens"]
    number = lambda head, key: f"{head[key]:.2f}".replace("-", "\N{MINUS SIGN}")  # noqa: E731
    ranked = {key: sorted(heads, key=lambda head: -head[key])[:LISTED] for key in NAMES}
    rows = [
        [str(i + 1), *(f"{ranked[key][i]['name']} ({number(ranked[key][i], key)})" for key in NAMES)]
        for i in range(LISTED)
    ]
    place = lambda i: f"{i} {code(tokens[i])}"  # noqa: E731
    looks = []
    for head, its in zip(heads, pattern.reshape(-1, len(tokens), len(tokens)), strict=True):
        if head["kind"]:
            sharp = np.argsort(-its[1:, 1:], axis=None, kind="stable")[:3]
            cells = [(q + 1, k + 1) for q, k in (divmod(int(i), len(tokens) - 1) for i in sharp)]
            words = [f"{place(q)} → {place(k)} ({its[q, k]:.0%})" for q, k in cells]
            looks.append([head["name"], KINDS[head["kind"]], "; ".join(words)])
    strongest = f"The {LISTED} strongest of {len(heads)} heads by each number, with it in brackets"
    caption = f"Heads with a role, and their sharpest looks in: {''.join(code(token) for token in tokens)}"
    return "\n".join(
        [
            table(["rank", *NAMES.values()], rows, strongest),
            table(["head", "role", "sharpest looks past the first token"], looks, caption),
        ]
    )
