"""Every head of the public model, for the map of chapter 12: its scores, its pattern, what the loss is without it.

    nice python -m tools.public_heads        # a quarter of an hour on one core

It writes course_utils/data/public-heads.json and that file's line in the manifest. A run that is cut off goes on
where it was: the losses so far stand in trained/.
"""

import json
from pathlib import Path

import torch
from torch import Tensor
from tqdm.auto import tqdm

from course_utils import corpus, load_model, smollm2
from course_utils.checkpoints import write_atomically
from course_utils.figures.host import packed, visible
from course_utils.losses import token_losses
from course_utils.roles import roles_by
from course_utils.scores import prefix_matching_scores, previous_token_scores, repeated_tokens
from tools.shipped import measuring, ship

NAME = "public-heads.json"
TEXT = "Anna Quillfeather wrote to the mayor, and the mayor asked whether Anna Quillfeather had ever seen the sea."
COMMON = torch.arange(1000, 20_000)  # ids of ordinary pieces of words: the first are bytes and signs, the last are rare
SEQUENCES, REPEATED = 32, 4  # random sequences for prefix matching, and for the losses without a head
N = 50  # tokens of one copy
WINDOWS, LENGTH = 8, 101


def main() -> None:
    options = measuring(__doc__, NAME, "the losses so far")
    made = measured(load_model(smollm2.NAME, "cpu"), smollm2.load_tokenizer(), options.kept)
    ship(options.out / NAME, made, separators=(",", ":"))


@torch.no_grad()
def measured(model, tokenizer: corpus.Tokenizer, kept: Path) -> dict:
    """What the file holds: like a card it has scores, [layer][head], and the heads of each role."""
    text = text_windows(tokenizer)
    scores = {
        "prefix_matching": prefix_matching_scores(model, SEQUENCES, pool=COMMON, batch=2),
        "previous_token": previous_token_scores(model, text, batch=2),
        "first_token": first_token_scores(model, text),
    }
    loss, without = losses_without(model, kept)
    ids, pattern = pattern_over_text(model, tokenizer)
    rows, columns = torch.tril_indices(len(ids), len(ids))
    return {
        "model": smollm2.NAME,
        "key_heads": model.cfg.n_key_heads,
        "scores": {name: table.double().round(decimals=3).tolist() for name, table in scores.items()},
        "roles": roles_by({name: scores[name] for name in ("prefix_matching", "previous_token")}),
        "loss": round(loss, 4),
        "rise": (without - loss).round(decimals=4).tolist(),
        "tokens": [visible(tokenizer.show(i)) for i in ids],
        "pattern": packed(pattern[:, :, rows, columns]),
    }


def text_windows(tokenizer: corpus.Tokenizer) -> Tensor:
    """Windows spread over the validation text, in the model's own tokens."""
    ours = corpus.load_tokenizer()
    texts = [ours.decode(document) for document in corpus.documents(corpus.load_text("validation"))]
    return corpus.spread(corpus.windows(corpus.join(tokenizer.encode_batch(texts)), LENGTH), WINDOWS)


def first_token_scores(model, windows: Tensor) -> Tensor:
    """Mean of pattern[i, 0] over i ≥ 1 on text, [n_layers, n_heads]."""
    parts = [model.run_with_cache(part)[1].pattern[..., 1:, 0].mean(-1).sum(1) for part in windows.split(2)]
    return sum(parts) / len(windows)


def pattern_over_text(model, tokenizer: corpus.Tokenizer) -> tuple[list[int], Tensor]:
    """The ids of the sentence and every head's pattern over it, [n_layers, n_heads, query, key]."""
    ids = [tokenizer.start_id, *tokenizer.encode(TEXT)]
    return ids, model.run_with_cache(torch.tensor([ids]))[1].pattern[:, 0]


def losses_without(model, kept: Path) -> tuple[float, Tensor]:
    """The loss on the second copy of repeated random tokens; and the same with each head replaced by zero, each alone.

    Only the layers from the head's own on are run again.
    """
    found = json.loads(kept.read_text("utf-8")) if kept.exists() else {}
    streams = model.run_with_cache(repeats(model))[1].resid
    shape = model.cfg.n_layers, model.cfg.n_heads
    heads = [divmod(place, shape[1]) for place in range(shape[0] * shape[1])]
    for layer, head in tqdm(heads, desc="heads"):
        if (name := f"{layer}.{head}") not in found:
            found[name] = loss_without(model, streams[layer], layer, head)
            write_atomically(kept, json.dumps(found).encode())
    without = torch.tensor([found[f"{layer}.{head}"] for layer, head in heads], dtype=torch.float64)
    return second_copy_loss(model, streams[-1]), without.view(shape)


def repeats(model) -> Tensor:
    return repeated_tokens(model.cfg.d_vocab, REPEATED, N, N, pool=COMMON)[0]


def loss_without(model, stream: Tensor, layer: int, head: int) -> float:
    """The loss when the head puts out zero, from the stream before its layer."""

    def attend(x: Tensor, at: int) -> Tensor:
        q, k, v = (model.read(x, at, side) for side in "qkv")
        z = model.scores(q, k).softmax(dim=-1) @ v
        if at == layer:
            z[:, head] = 0
        return z

    return second_copy_loss(model, model.run(stream, attend, first=layer))


def second_copy_loss(model, stream: Tensor) -> float:
    """In nats, over the tokens that can be known: the second copy's first one comes as a surprise."""
    second = slice(N + 1, 2 * N + 1)
    return token_losses(model.unembed(stream[:, second]), repeats(model)[:, second]).double().mean().item()


if __name__ == "__main__":
    main()
