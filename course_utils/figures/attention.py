"""Every head over a text: where it looks, who looks at a token, and what that does (chapters 3 and 7)."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import torch

from course_utils.checked import FILLED, check, checked, within
from course_utils.checkpoints import load_card
from course_utils.corpus import load_tokenizer
from course_utils.errors import CourseError
from course_utils.figures.host import Explorable, Layered, code, packed, table, text_ids, visible
from course_utils.model import AttentionOnlyTransformer
from course_utils.roles import measure, role_of

LONGEST = 72  # tokens of a text, the start token included: more would be over 200 kB with 24 heads
MODES = ("attention", "value", "effect")


@checked
@torch.no_grad()
def attention_figure(
    model: Any,
    texts: Annotated[Mapping[str, Any], FILLED, 'pass texts by name, {"Python": "def f(x):"}'],
    *,
    head: Any = None,
    mode: Literal[MODES] = "attention",
    token: int | None = None,
) -> Explorable:
    """All heads of a model over texts: `attention_figure("two-layer", {"Python": "def read(path):", …})`.

    `model`: a model, or the name of one that ships. `texts`: by name, each a text or its token ids, without the start
    token, which is put before it; 71 tokens at most. `head`: the head enlarged at first, "1.10" or (1, 10), in a
    one-layer model 8; if not given, the one with the highest prefix-matching score or, where there is no induction
    head, with the highest previous-token score. `token`: the position in the first text that is picked at first,
    counted from the start token's 0. `mode`: what is shown at first,

        attention   the pattern
        value       attention × the length of what a full look at that source would add to the stream
        effect      what the look at that source adds to the logit of the token that comes next, less the mean over
                    the vocabulary; of a head in an earlier layer this is the direct path alone

    Heads that have a role are marked: it is read from the card of a model that is named, and measured of another.
    """
    card = load_card(model) if isinstance(model, str) else {}
    model = check("model", model, Layered)
    heads = _heads(card if "roles" in card else measure(model, n=16))
    tokenizer = load_tokenizer(model.cfg.d_vocab)
    blocks = [_block(model, tokenizer, *item, heads) for item in texts.items()]
    enlarged = _enlarged(head, heads)
    data = {"heads": heads, "columns": model.cfg.n_heads, "texts": [data for data, _ in blocks]}
    data |= {"text": 0, "head": enlarged, "mode": mode, "token": _picked(token, blocks[0][0])}
    plain = "\n".join(table for _, table in blocks)
    return Explorable("attention", data, f'<div class="ex-{"one" if model.cfg.n_layers == 1 else "two"}">{plain}</div>')


def _heads(card: dict) -> list[dict]:
    """Each head's name, scores and role."""
    prefix, previous = card["scores"]["prefix_matching"], card["scores"]["previous_token"]
    return [
        {
            "name": f"{layer}.{head}" if len(prefix) > 1 else str(head),
            "kind": role_of(card, layer, head),
            "scores": [round(match, 2), round(before, 2)],
        }
        for layer, rows in enumerate(zip(prefix, previous, strict=True))
        for head, (match, before) in enumerate(zip(*rows, strict=True))
    ]


def _enlarged(head, heads: list[dict]) -> int:
    names = [each["name"] for each in heads]
    if head is None:
        best = max(range(len(heads)), key=lambda i: heads[i]["scores"][0])
        return best if heads[best]["kind"] else max(range(len(heads)), key=lambda i: heads[i]["scores"][1])
    name = ".".join(map(str, head)) if isinstance(head, tuple) else str(head)
    if name not in names:
        raise CourseError(f"head {head!r}", f"the heads are {names[0]} to {names[-1]}", f"head={names[0]!r}")
    return names.index(name)


def _picked(token, text: dict) -> int:
    if token is None:
        return text["token"]
    last = len(text["tokens"]) - 1
    return int(check("token", token, Annotated[int, within(0, last), "leave it out to have one chosen"]))


def looks(model: AttentionOnlyTransformer, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Of a text [1, pos]: patterns [head, query, key], values' lengths [head, key], effects [head, query − 1, key]."""
    _, cache = model.run_with_cache(tokens)
    pattern = cache.pattern[:, 0].flatten(0, 1)
    value = torch.einsum("lpm,lhmd,lhdn->lhpn", cache.resid[:-1, 0], model.W_V, model.W_O).flatten(0, 1)
    W_U = model.W_U - model.W_U.mean(dim=1, keepdim=True)
    full = value @ W_U[:, tokens[0, 1:]]  # [head, key, query]: a full look, and the token after the query
    return pattern, value.norm(dim=-1), pattern[:, :-1] * full.mT


def _block(model, tokenizer, name: str, text, heads: list[dict]) -> tuple[dict, str]:
    """A text's data, and its plain version."""
    ids = text_ids(f"texts[{name!r}]", text, model, tokenizer, min(LONGEST, model.cfg.n_ctx))
    tokens = torch.tensor([ids], device=model.W_E.device)
    pattern, length, effect = (each.cpu().double() for each in looks(model, tokens))
    shown, name = [visible(tokenizer.show(i)) for i in tokens[0].tolist()], visible(name)
    seen = [i for i, token in enumerate(shown[:-1]) if token in shown[:i]]
    row, column = torch.tril_indices(len(shown), len(shown))
    data = {
        "name": name,
        "tokens": shown,
        "token": _interesting(pattern, heads, seen, len(shown)),
        "attention": packed(pattern[:, row, column]),
        "length": packed(length, 16),
        "effect": [packed(each[row[: -len(shown)], column[: -len(shown)]]) for each in effect],
    }
    return data, _plain(name, shown, pattern, effect, heads)


def _interesting(pattern, heads: list[dict], seen: list[int], n: int) -> int:
    """The position shown at first: of the tokens that occurred before, the one where marked heads rest least."""
    marked = [i for i, head in enumerate(heads) if head["kind"] == "induction"] or list(range(len(heads)))
    rest = pattern[marked, :, 0].mean(dim=0)
    return min(seen or range(n), key=lambda i: rest[i].item())


KINDS = {"induction": "induction head", "previous": "previous-token head", "": ""}


def _plain(name: str, tokens: list[str], pattern, effect, heads: list[dict]) -> str:
    """Each head's sharpest looks that go to something else than the start token."""
    place = lambda i: f"{i} {code(tokens[i])}"  # noqa: E731
    rows = []
    for head, its, added in zip(heads, pattern, effect, strict=True):
        sharp = its[1:-1, 1:].flatten().topk(min(3, its[1:-1, 1:].numel())).indices.tolist()
        cells = [divmod(i, len(tokens) - 1) for i in sharp]
        words = [
            f"{place(q + 1)} → {place(k + 1)} ({its[q + 1, k + 1]:.0%}; {added[q + 1, k + 1]:+.1f})" for q, k in cells
        ]
        rows.append([head["name"], KINDS[head["kind"]], f"{its[1:, 0].mean():.0%}", "<br>".join(words)])
    heads_of = ["Head", "Kind", "To the start token", "Sharpest looks elsewhere (attention; logit of the next token)"]
    return table(heads_of, rows, f"{code(name)}: {''.join(code(token) for token in tokens)}")
