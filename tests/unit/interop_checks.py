"""To and from TransformerLens, in an environment that has it (test_interop.py starts this). Prints what it measured."""

import json
import re
import warnings
from pathlib import Path
from types import SimpleNamespace

import torch
from transformer_lens import HookedTransformer, HookedTransformerConfig

from course_utils import AttentionOnlyTransformer, CourseError, ModelConfig, circuits, load_model
from course_utils.config import PUT_BACK, TransformerConfig
from course_utils.interop import from_transformer_lens, to_transformer_lens
from course_utils.transformer import Transformer

warnings.simplefilter("ignore")
SIZES = {"n_layers": 2, "n_heads": 3, "d_model": 12, "d_head": 4, "d_vocab": 17, "n_ctx": 9}
KIND = {"attn_only": True, "normalization_type": None, "positional_embedding_type": "shortformer", "device": "cpu"}


def hooked(**changes) -> HookedTransformer:
    settings = SIZES | KIND | {"act_fn": "relu", "d_mlp": 8} | changes
    return HookedTransformer(HookedTransformerConfig(**settings))


# What is put back, as TransformerLens has it. Positions that are read it adds after the norm, we before it.
KINDS = {name: settings for name, settings in PUT_BACK.items() if name != "norm"} | {
    "norm": {"norm": "layer", "positions": "stream"},
    "as Llama": {"norm": "rms", "mlp": "gated", "positions": "rotary"},
    "as GPT-2": {"norm": "layer", "biases": True, "mlp": "gelu", "positions": "stream"},
}
NORMS = {"none": None, "layer": "LN", "rms": "RMS"}
POSITIONS = {"read": "shortformer", "stream": "standard", "rotary": "rotary"}
TABLES = {"W_E": "embed.W_E", "W_pos": "pos_embed.W_pos", "W_U": "unembed.W_U", "b_U": "unembed.b_U"}


def same(ours: Transformer) -> HookedTransformer:
    """A HookedTransformer with the weights of ours."""
    cfg = ours.cfg
    theirs = hooked(
        attn_only=cfg.mlp == "none", d_mlp=cfg.d_mlp, act_fn="silu" if cfg.mlp == "gated" else "gelu",
        gated_mlp=cfg.mlp == "gated", normalization_type=NORMS[cfg.norm], eps=cfg.norm_eps,
        positional_embedding_type=POSITIONS[cfg.positions], rotary_dim=cfg.d_head, rotary_base=int(cfg.rotary_base),
        rotary_adjacent_pairs=True, dtype=torch.float64,
    )  # fmt: skip
    state = {name: torch.zeros_like(weight) for name, weight in theirs.named_parameters()}
    for name, weight in ours.named_parameters():
        if name in TABLES:
            state[TABLES[name]] = weight
        elif name.startswith("ln_final"):
            state[name.replace("_final_", "_final.")] = weight
        else:
            part = name.replace("_", ".") if name.startswith("ln") else f"{module(name)}.{name}"
            state |= {f"blocks.{layer}.{part}": each for layer, each in enumerate(weight)}
    assert state.keys() == dict(theirs.named_parameters()).keys()
    for name, weight in theirs.named_parameters():
        weight.copy_(state[name])
    return theirs


def module(name: str) -> str:
    return "attn" if name[-1].isupper() else "mlp"


def refused(model, *words: str) -> None:
    try:
        from_transformer_lens(model)
    except CourseError as error:
        assert all(word in str(error) for word in [*words, "Remedy:"]), error
    else:
        raise AssertionError(f"not refused: {words}")


@torch.no_grad()
def main() -> None:
    worst = 0.0
    small = [AttentionOnlyTransformer.init(ModelConfig(**SIZES | {"n_layers": n}), n) for n in (0, 1, 2, 3)]
    # In 32 bits rounding alone makes them differ by 6e-5; what is the same is the same in 64.
    for ours in [*small, *(load_model(name, "cpu").double() for name in ("zero-layer", "one-layer", "two-layer"))]:
        generator = torch.Generator().manual_seed(0)
        tokens = torch.randint(ours.cfg.d_vocab, (2, ours.cfg.n_ctx), generator=generator)
        theirs = to_transformer_lens(ours)
        logits, cache = ours.run_with_cache(tokens)
        their_logits, their_cache = theirs.run_with_cache(tokens)
        worst = max(worst, (logits - their_logits).abs().max().item())
        torch.testing.assert_close(their_logits, logits, rtol=0, atol=1e-5)
        for layer in range(ours.cfg.n_layers):
            torch.testing.assert_close(their_cache["pattern", layer], cache.pattern[layer], rtol=0, atol=1e-4)
        back = from_transformer_lens(theirs)
        assert back.cfg == ours.cfg
        for name, weight in ours.state_dict().items():
            assert torch.equal(back.state_dict()[name], weight), name

    for kind, settings in KINDS.items():
        ours = Transformer.init(TransformerConfig(**SIZES, **settings, d_mlp=10), seed=1).double()
        generator = torch.Generator().manual_seed(1)
        for weight in ours.parameters():
            weight += torch.randn(weight.shape, generator=generator) / 3
        tokens = torch.randint(ours.cfg.d_vocab, (2, ours.cfg.n_ctx), generator=generator)
        theirs = same(ours)
        logits, cache = ours.run_with_cache(tokens)
        their_logits, their_cache = theirs.run_with_cache(tokens)
        worst = max(worst, (logits - their_logits).abs().max().item())
        torch.testing.assert_close(
            their_logits, logits, rtol=1e-6, atol=1e-6, msg=lambda said, kind=kind: f"{kind}: {said}"
        )
        for layer in range(2):
            torch.testing.assert_close(their_cache["pattern", layer], cache.pattern[layer], rtol=0, atol=1e-6)
            torch.testing.assert_close(their_cache["resid_post", layer], cache.resid[layer + 1], rtol=1e-6, atol=1e-6)
            if cache.resid_mid is not None:
                torch.testing.assert_close(their_cache["mlp_out", layer], cache.mlp_out(layer), rtol=1e-6, atol=1e-6)

    theirs = hooked()  # a model that was made there: its circuits are read here
    back = from_transformer_lens(theirs)
    tokens = torch.arange(9)[None]
    torch.testing.assert_close(back(tokens), theirs(tokens), rtol=1e-5, atol=1e-5)
    full = theirs.W_E @ theirs.W_V[1, 2] @ theirs.W_O[1, 2] @ theirs.W_U
    torch.testing.assert_close(circuits.ov_circuit(back, 1, 2).AB, full, rtol=1e-5, atol=1e-5)

    refused(hooked(attn_only=False), "attn_only is False", "MLP")
    refused(hooked(normalization_type="LN"), "normalization_type is 'LN'", "LayerNorm")
    refused(hooked(positional_embedding_type="standard"), "positional_embedding_type is 'standard'", "positions")
    refused(hooked(attention_dir="bidirectional"), "attention_dir is 'bidirectional'")
    biased = hooked()
    biased.blocks[0].attn.b_V[1] = 0.5
    refused(biased, "blocks.0.attn.b_V", "biases")
    print(f"largest difference of logits: {worst:.1e}")


@torch.no_grad()
def yours_next() -> None:
    """The lines that chapter 12 gives for GPT-2, on a random model of its class: attention, losses without heads."""
    chapter = Path(__file__).parents[2] / "book/12_a_model_people_use.ipynb"
    text = "\n\n".join("".join(cell["source"]) for cell in json.loads(chapter.read_text("utf-8"))["cells"])
    (lines,) = (part for part in re.findall(r"```python\n(.+?)```", text, re.S) if "from_pretrained" in part)
    sizes = {"n_layers": 3, "n_heads": 2, "d_model": 12, "d_head": 6, "d_vocab": 20000, "n_ctx": 101, "seed": 0}
    random = HookedTransformer(
        HookedTransformerConfig(**sizes, act_fn="gelu_new", normalization_type="LN", device="cpu")
    )
    random.tokenizer = SimpleNamespace(bos_token_id=0, padding_side="right")
    names, printed = {}, []
    given = re.sub(r"HookedTransformer\.from_pretrained\(.+?\)", "random_model", lines)
    names |= {"random_model": random, "print": lambda *words: printed.append(words)}
    exec(given, names)
    cache = random.run_with_cache(names["tokens"])[1]
    q = torch.arange(51, 101)
    for score, back in (("matching", 49), ("before", 1)):
        want = torch.stack([cache["pattern", layer][:, :, q, q - back].mean((0, 2)) for layer in range(3)])
        torch.testing.assert_close(names[score], want, rtol=1e-5, atol=1e-6)
    (whole, *losses), (without, *cut) = printed
    assert (whole, without) == ("whole", "without") and all(a != b for a, b in zip(losses, cut, strict=True)), printed


yours_next()
main()
