"""The ladder of chapter 9 in full: every explanation of the induction heads, on 60 texts, by 20 draws of other texts.

    nice python -m tools.scrubbing        # some twenty minutes on one core

It writes course_utils/data/scrubbing.json, and goes on where it was cut off: draws that are done stand in trained/.
"""

import json
from pathlib import Path

import torch
from tqdm.auto import tqdm

from course_utils import corpus, load_model, load_text
from course_utils.causal_scrubbing import partners, scrub, summed_losses
from course_utils.checkpoints import load_card, write_atomically
from course_utils.roles import heads_of
from course_utils.scores import repeated_tokens, successors
from tools.shipped import measuring, ship

NAME, MODEL = "scrubbing.json", "two-layer"
TEXTS, DRAWS = 60, 20
# What each rung keeps for the heads' queries, keys and values; a number is a head of layer 0.
RUNGS = {
    "all scrubbed": {},
    "wrong head": {"q": ["token"], "k": [3], "v": ["everything"]},
    "previous token": {"q": ["token"], "k": [8], "v": ["everything"]},
    "recent tokens": {"q": ["token", 11], "k": [8, 11], "v": ["everything"]},
    "what else": {"q": ["everything"], "k": [8, 11, "token"], "v": ["everything"]},
    "values: token": {"q": ["everything"], "k": ["everything"], "v": ["token"]},
}


def main() -> None:
    options = measuring(__doc__, NAME, "the draws so far")
    model, heads = load_model(MODEL, "cpu"), [head for _, head in heads_of(MODEL, "induction")]
    losses = {name: drawn(model, heads, name, *of(name), options.kept) for name in ("text", "random repeats")}
    about = {"model": load_card(MODEL)["sha256"], "heads": heads, "draws": DRAWS, "rungs": RUNGS}
    ship(options.out / NAME, about | {"losses": losses}, separators=(",", ":"))


def of(name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Texts [n, pos], each of a document of its own, and the positions whose predictions count: tokens seen before."""
    if name == "text":
        tokens = corpus.spread(corpus.middle_windows(load_text("validation"), 256), TEXTS)
        return tokens, successors(tokens).any(-1)
    tokens, lengths = repeated_tokens(4096, TEXTS)
    position = torch.arange(tokens.shape[1])
    return tokens, (position > lengths[:, None]) & (position < 2 * lengths[:, None])


def drawn(model, heads: list[int], source: str, tokens, counted, kept: Path) -> dict[str, list[list[float]]]:
    """Summed losses of each text, as it is and by rung: [draw][text]."""
    done = json.loads(kept.read_text("utf-8")) if kept.exists() else {}
    edits = {("whole", 0): None} | {
        (name, draw): scrub(model, heads, keeps, partners(len(tokens), draw))
        for draw in range(DRAWS)
        for name, keeps in RUNGS.items()
    }
    for (name, draw), edit in tqdm(edits.items(), desc=source, unit="pass"):
        rows = done.setdefault(source, {}).setdefault(name, [])
        if len(rows) == draw:
            rows.append(summed_losses(model, tokens, counted, edit).double().round(decimals=3).tolist())
            write_atomically(kept, json.dumps(done).encode())
    return done[source] | {"counted": counted[:, :-1].sum(1).tolist()}


if __name__ == "__main__":
    main()
