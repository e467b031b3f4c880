"""The induction lab: the shipped models run in the page itself, over the reader's text, with heads and paths off."""

import base64
import json
import re
import shutil
import zlib
from pathlib import Path
from typing import Annotated

import torch

from course_utils.checked import FILLED, checked
from course_utils.checkpoints import SHIPPED, WEIGHTS, load_card, load_model
from course_utils.corpus import VOCABULARIES, load_tokenizer, read, token_counts
from course_utils.figures.host import EXPORT, Explorable, code, joined, table, visible
from course_utils.interventions import run_without
from course_utils.losses import token_losses
from course_utils.roles import LEAST, heads_of

PART = 3 * 2**18  # bytes of weights that are checked at a time, and in one script: a text of 1 MiB
REPEATED = 20  # random words, twice
CODE = """class Kettle:
    def __init__(self, volume, lid):
        self.volume = volume
        self.lid = lid

    def __repr__(self):
        return f"Kettle(volume={self.volume}, lid={self.lid})"
"""
PROSE = (
    "The Zanthrop filter keeps the last value that it has seen. If no value was given, the Zanthrop filter "
    "returns the default value, and the next call to the Zanthrop filter starts again."
)


@checked
def induction_lab(files: Annotated[str, FILLED, 'use "../_static/lab"'] = "../_static/lab") -> Explorable:
    """The lab, for a page of the site. `files`: where, seen from the page, lies what `ship` wrote.

    Raises CourseError if that is no text.
    """
    words = whole_words()
    example = " ".join(["", *words[:REPEATED]]) * 2
    data = {
        "files": files,
        "models": [_model(name) for name in reversed(SHIPPED)],
        "part": PART,
        "tokenizer": tokenizer_data(),
        "worker": worker_source(),
        "words": words,
        "samples": {"Code": CODE, "Prose": PROSE},
        "text": example,
        "still": _still(example),
        "path": ["{}.{}".format(*head) for head in _path()],
    }
    return Explorable("induction_lab", data, _plain(example))


def ship(folder: Path) -> None:
    """Write the weights where the lab finds them: as they are, and in scripts for pages that are read from the disk.

    What is there and as new as the weights stays. A script hands one part, in base64, to the page's `courseLab`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in SHIPPED:
        source, target = WEIGHTS / f"{name}.safetensors", folder / f"{name}.safetensors"
        if target.exists() and _stamp(target) == _stamp(source):
            continue
        weights = source.read_bytes()
        for number, start in enumerate(range(0, len(weights), PART)):
            text = base64.b64encode(weights[start : start + PART]).decode("ascii")
            (folder / f"{name}-{number}.js").write_text(f'courseLab("{name}",{number},"{text}");\n', "utf-8")
        shutil.copy2(source, target)  # last: it says that the others are complete


def _stamp(path: Path) -> tuple[int, int]:
    return path.stat().st_size, int(path.stat().st_mtime)


def worker_source() -> str:
    """lab/worker.js as a classic script, for a worker."""
    return EXPORT.sub("", joined("lab/worker.js"))


def tokenizer_data() -> dict:
    """What lab/tokenizer.js needs: the ids of the 256 bytes, and the merges as pairs of ids."""
    model = json.loads(read(f"tokenizer-{VOCABULARIES[0]}.json"))["model"]
    ids, letters = model["vocab"], _letters()
    return {
        "bytes": [ids[letters[byte]] for byte in range(256)],
        "merges": [[ids[left], ids[right]] for left, right in model["merges"]],
    }


def whole_words(most: int = 400) -> list[str]:
    """Common words that are one token with the space before them: of these random texts are made."""
    tokenizer, counts = load_tokenizer(), token_counts()
    words = []
    for token in counts.argsort(descending=True, stable=True).tolist():
        text = tokenizer.decode([token])
        if re.fullmatch(" [a-z]{3,9}", text) and tokenizer.encode(text) == [token]:
            words.append(text[1:])
    # Every fifth, from the less common ones on: no text could be guessed from its first words.
    return words[100 : 100 + 5 * most : 5]


def repeated_pairs(ids: list[int]) -> list[bool]:
    """For each token, whether it stood earlier in the text behind the same token: what induction can know."""
    seen, found = set(), []
    for pair in zip([None, *ids], ids, strict=False):
        found.append(pair in seen)
        seen.add(pair)
    return found


def text_losses(name: str, text: str, heads=(), paths=()) -> tuple[float, float, float]:
    """Mean loss of a text in nats: all tokens, those of `repeated_pairs`, the others. The first token is left out."""
    model, tokenizer = load_model(name, "cpu"), load_tokenizer()
    ids = [tokenizer.start_id, *tokenizer.encode(text)]
    tokens = torch.tensor([ids])
    each = token_losses(run_without(model, tokens, heads, paths)[0], tokens)[0, 1:]
    again = torch.tensor(repeated_pairs(ids)[2:])
    return each.mean().item(), each[again].mean().item(), each[~again].mean().item()


def _letters() -> list[str]:
    """The character that stands for each byte in a byte-level vocabulary."""
    own = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in own]
    return [chr(byte if byte in own else 256 + others.index(byte)) for byte in range(256)]


def _path() -> tuple[tuple[int, int], tuple[int, int]]:
    """From a head to the keys of another: what the reader can cut at first."""
    return heads_of(SHIPPED[-1], "previous")[0], heads_of(SHIPPED[-1], "induction")[0]


def _still(example: str) -> dict:
    """What the lab will show of its first text, for the token whose next one is best known.

    tokens: of the text; here: the token's place; looks: where an induction head looks from it; right: the probability
    of the token that comes next, with every head on, and without a previous-token head.
    """
    model, tokenizer = load_model(SHIPPED[-1], "cpu"), load_tokenizer()
    ids = [tokenizer.start_id, *tokenizer.encode(example)]
    previous, (layer, head) = _path()
    (logits, cache), (without, _) = (run_without(model, torch.tensor([ids]), off) for off in ((), [previous]))
    known, less = (each[0, :-1].softmax(-1)[range(len(ids) - 1), ids[1:]] for each in (logits, without))
    here = REPEATED + 1 + known[REPEATED + 1 :].argmax().item()
    return {
        "tokens": [visible(tokenizer.decode([token])) for token in ids[1:]],
        "here": here - 1,
        "looks": [round(share, 3) for share in cache.pattern[layer, 0, head, here, 1:].tolist()],
        "right": [round(each[here].item(), 4) for each in (known, less)],
    }


def _model(name: str) -> dict:
    weights, card = (WEIGHTS / f"{name}.safetensors").read_bytes(), load_card(name)
    config, tokenizer = card["config"], load_tokenizer()
    longest = max(len(tokenizer.decode([token]).encode()) for token in range(tokenizer.d_vocab))
    return {
        "name": name,
        "bytes": len(weights),
        "sums": [zlib.crc32(weights[start : start + PART]) for start in range(0, len(weights), PART)],
        "layers": config["n_layers"],
        "heads": config["n_heads"],
        "context": config["n_ctx"],
        "longest": config["n_ctx"] * longest,
        "kinds": {f"{layer}.{head}": role for role in LEAST for layer, head in heads_of(card, role)},
    }


def _plain(example: str) -> str:
    """A sentence, and what the lab would show of one text."""
    previous, induction = _path()
    names = ["{}.{}".format(*head) for head in (previous, induction)]
    ablations = {
        "every head on": {},
        f"head {names[0]} off (it looks at the token before)": {"heads": [previous]},
        f"head {names[1]} off (an induction head)": {"heads": [induction]},
        f"only the path from {names[0]} to the keys of {names[1]} off": {"paths": [(previous, induction, "K")]},
    }
    rows = [
        [label, *(f"{loss:.2f}" for loss in text_losses("two-layer", example, **off))]
        for label, off in ablations.items()
    ]
    heads = ["two-layer model", "all tokens", "pairs seen before", "the rest"]
    caption = f"Mean loss in nats over {REPEATED} random words, written twice"
    return (
        "<p>Here the course’s models run in the page, over any text you type. Each head can be switched off. That "
        "needs JavaScript; without it, this is what the lab shows of one text:</p>\n"
        f"<p>{code(visible(example))}</p>\n{table(heads, rows, caption)}"
    )
