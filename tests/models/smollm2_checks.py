"""The public model as `transformers` reads it, in an environment that has it (test_smollm2.py starts this).

python smollm2_checks.py FIXTURE      # prints what it measured
"""

import json
import sys
import warnings
from pathlib import Path

import torch
from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence
from transformers import AutoModelForCausalLM, AutoTokenizer

from course_utils import corpus, load_model, smollm2

warnings.simplefilter("ignore")
RECORDED = json.loads(Path(sys.argv[1]).read_text("utf-8"))
FILE = smollm2.weights_file()
LINES = 10_000


def lines_of_the_shipped_text() -> list[str]:
    decode, lines = corpus.load_tokenizer().decode, []
    for ids in corpus.documents(corpus.load_text("train")):
        lines += [line for line in decode(ids).splitlines() if line]
        if len(lines) >= LINES:
            return lines[:LINES]
    raise AssertionError(f"only {len(lines)} lines")


def compare_tokenizers() -> str:
    """Its reader leaves digits out of the pre-tokenizer: lines with spaces before a digit differ. Then it is set."""
    ours, theirs = smollm2.load_tokenizer(), AutoTokenizer.from_pretrained(FILE.parent, gguf_file=FILE.name)
    encode = lambda texts: theirs(texts, add_special_tokens=False).input_ids  # noqa: E731
    lines = lines_of_the_shipped_text()
    mine = ours.encode_batch(lines)
    differ = [line for line, a, b in zip(lines, mine, encode(lines), strict=True) if a != b]
    assert differ and all(any(c.isdigit() for c in line) for line in differ)
    assert encode(["a  1"]) != [ours.encode("a  1")]
    theirs.backend_tokenizer.pre_tokenizer = Sequence(
        [Digits(individual_digits=True), ByteLevel(add_prefix_space=False)]
    )
    for line, a, b in zip(lines, mine, encode(lines), strict=True):
        assert a == b, line
    for text, ids in RECORDED["ids"].items():
        if smollm2.START not in text:  # which to theirs is no text
            assert [ids] == encode([text]), text
    return f"{len(lines)} lines have the same ids, {len(differ)} would not without digits by themselves"


@torch.no_grad()
def compare_models() -> str:
    ours, tokenizer = load_model("smollm2-135m", "cpu"), smollm2.load_tokenizer()
    theirs = AutoModelForCausalLM.from_pretrained(FILE.parent, gguf_file=FILE.name, dtype=torch.float32).eval()
    compare_weights(ours, theirs)
    generator, worst = torch.Generator().manual_seed(0), 0.0
    for tokens in (
        torch.randint(ours.cfg.d_vocab, (2, 300), generator=generator),
        tokenizer.context(" ".join(lines_of_the_shipped_text()[:40]), 400),
    ):
        logits = theirs(tokens).logits
        for mine in (ours(tokens), ours.run_with_cache(tokens)[0]):
            worst = max(worst, (mine - logits).abs().max().item())
    assert worst < 1e-3, worst
    for text, at in RECORDED["logits"].items():
        found = theirs(tokenizer.context(text)).logits[0][at["positions"]][:, at["ids"]]
        torch.testing.assert_close(found, torch.tensor(at["values"]), rtol=0, atol=1e-3)
    return f"largest difference of logits: {worst:.1e}"


def compare_weights(ours, theirs) -> None:
    """Bit for bit. It turns coordinates i and i + d_head / 2 together, where the file and ours have neighbours."""
    state, cfg = theirs.state_dict(), ours.cfg
    pairs = torch.cat([torch.arange(0, cfg.d_head, 2), torch.arange(1, cfg.d_head, 2)])
    per_key_head = cfg.n_heads // cfg.n_key_heads
    assert torch.equal(state["model.embed_tokens.weight"], ours.W_E) and torch.equal(ours.W_E.T, ours.W_U)
    assert torch.equal(state["model.norm.weight"], ours.ln_final_w)
    for layer in range(cfg.n_layers):
        of = lambda name, layer=layer: state[f"model.layers.{layer}.{name}.weight"]  # noqa: E731
        same = {
            "self_attn.q_proj": ours.W_Q[layer][..., pairs].mT.flatten(0, 1),
            "self_attn.k_proj": ours.W_K[layer, ::per_key_head][..., pairs].mT.flatten(0, 1),
            "self_attn.v_proj": ours.W_V[layer, ::per_key_head].mT.flatten(0, 1),
            "self_attn.o_proj": ours.W_O[layer].flatten(0, 1).T,
            "mlp.gate_proj": ours.W_gate[layer].T, "mlp.up_proj": ours.W_in[layer].T,
            "mlp.down_proj": ours.W_out[layer].T, "input_layernorm": ours.ln1_w[layer],
            "post_attention_layernorm": ours.ln2_w[layer],
        }  # fmt: skip
        for name, weight in same.items():
            assert torch.equal(of(name), weight), (layer, name)


if __name__ == "__main__":
    print(f"{compare_models()}; {compare_tokenizers()}")
