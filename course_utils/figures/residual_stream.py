"""What the embedding and every head add to a logit, at each position of a text (chapter 1)."""

from collections.abc import Sequence
from typing import Annotated, Any

import torch

from course_utils.checked import check, checked, within
from course_utils.corpus import load_tokenizer
from course_utils.figures.host import Explorable, Layered, code, packed, table, text_ids, visible
from course_utils.model import AttentionOnlyTransformer

LONGEST = 64  # positions that can be chosen: more would be over 200 kB with 24 heads
GUESSES = 5


@checked
@torch.no_grad()
def residual_stream_figure(
    model: Layered,
    tokens: Any,
    *,
    last: Annotated[int, within(1, LONGEST)] = 40,
    at: int | None = None,
    offer: Sequence[str] = (),
) -> Explorable:
    """A logit as the sum of what was written into the stream: `residual_stream_figure("two-layer", "def read(path):")`.

    `model`: a model, or the name of one that ships. `tokens`: a text, or its token ids without the start token, which
    is put before them. The reader chooses one of the `last` positions (64 at most) that have a next token, and a token:
    the one that comes next, the model's five best guesses, or one of `offer`, each a text of one token. `at`: the
    position chosen at first; if not given, the one where layer 1 does most for the token that comes next.

    Logits are less their mean over the vocabulary, so that the parts show what moves a token against all others.
    """
    tokenizer = load_tokenizer(model.cfg.d_vocab)
    ids = text_ids("tokens", tokens, model, tokenizer, model.cfg.n_ctx)
    offered = [tokenizer.one(text) for text in offer]
    first = max(len(ids) - 1 - last, 0)
    values, candidates, chance = contributions(model, ids, offered)
    values, candidates, chance = (each[first:] for each in (values, candidates, chance))
    if at is None:
        at = first + int(values[:, 0, 1 + model.cfg.n_heads * (model.cfg.n_layers - 1) :].sum(dim=1).argmax())
    at = int(check("at", at, Annotated[int, within(first, len(ids) - 2), "leave it out"]))
    shown = sorted({*ids, *candidates.flatten().tolist()})
    place = {token: i for i, token in enumerate(shown)}
    data = {
        "words": [visible(tokenizer.show(i)) for i in shown],
        "first": first,
        "at": at - first,
        "tokens": [place[i] for i in ids[first:]],
        "parts": _names(model),
        "layers": [0, *(1 + layer for layer in range(model.cfg.n_layers) for _ in range(model.cfg.n_heads))],
        "guesses": GUESSES,
        "candidates": [[place[i] for i in row] for row in candidates.tolist()],
        "chance": [[round(p, 4) for p in row] for row in chance.tolist()],
        "values": packed(values, 16),  # [position, candidate, part]
    }
    return Explorable("residual_stream", data, _plain(data, values))


def contributions(
    model: AttentionOnlyTransformer, ids: Sequence[int], offered: Sequence[int] = ()
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(values [position, candidate, part], candidates [position, candidate], their probabilities).

    Positions: all but the last. Candidates: the next token, the best guesses, and what is offered.
    Parts: the embedding, then every head.
    """
    tokens = torch.tensor([list(ids)])
    logits, cache = model.run_with_cache(tokens.to(model.W_E.device))
    heads = [(layer, head) for layer in range(model.cfg.n_layers) for head in range(model.cfg.n_heads)]
    parts = torch.stack([cache.resid[0], *(cache.head_out(*head) for head in heads)])[:, 0, :-1].cpu().double()
    logits = logits[0, :-1].cpu().double()
    guesses = logits.topk(GUESSES).indices
    offers = torch.tensor(offered).long().expand(len(guesses), -1)
    candidates = torch.cat([tokens[0, 1:, None], guesses, offers], dim=1)
    W_U = model.W_U.cpu().double()
    columns = (W_U - W_U.mean(dim=1, keepdim=True))[:, candidates]  # [d_model, position, candidate]
    values = torch.einsum("pid,dic->icp", parts, columns)
    return values, candidates, logits.softmax(dim=-1).gather(1, candidates)


def _names(model) -> list[str]:
    return ["embedding", *(f"{i}.{j}" for i in range(model.cfg.n_layers) for j in range(model.cfg.n_heads))]


def _plain(data: dict, values: torch.Tensor) -> str:
    """For the token that really came: its logit at each position, by layers, and who did most for it."""
    layers = torch.tensor(data["layers"])
    groups = ["embedding", *(f"layer {i}" for i in range(layers.max()))]
    rows = []
    for i, own in enumerate(values[:, 0]):
        now, after = (code(data["words"][data["tokens"][place]]) for place in (i, i + 1))
        sums = [f"{own[layers == group].sum():+.2f}" for group in range(len(groups))]
        most = ", ".join(f"{data['parts'][part]} {own[part]:+.2f}" for part in own.abs().topk(3).indices.tolist())
        rows.append([f"{data['first'] + i} {now}", after, f"{own.sum():+.2f}", *sums, most])
    heads = ["Position", "Comes next", "Its logit", *groups, "Largest parts"]
    return table(
        heads, rows, "The logit of the token that comes next, less the mean over the vocabulary, and its parts"
    )
