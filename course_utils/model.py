"""The attention-only transformer of [E21]: embed, let heads add to the residual stream, unembed.

No MLPs, no biases, no LayerNorm, so every identity of the paper is exact here. Positions are added to what queries and
keys read, in every layer, and never to the stream itself ("shortformer" positions, as in the paper).
Rows are multiplied: a stream vector is x [d_model], and a matrix acts as x @ W.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from course_utils.checked import check, checked
from course_utils.config import Head, Layer, ModelConfig, Rate, Step, Stream, Tokens
from course_utils.errors import CourseError
from course_utils.smeared_keys import smeared


@dataclass
class Cache:
    """What `run_with_cache` keeps of one run. An edit sees it as it grows: one entry for each layer so far."""

    pattern: Float[Tensor, "n_layers batch n_heads query key"]  # attention; each row sums to 1
    z: Float[Tensor, "n_layers batch n_heads pos d_head"]  # values, averaged by the pattern
    resid: Float[Tensor, "n_layers_plus_1 batch pos d_model"]  # the stream before layer 0, after layer 0, ...
    W_O: Float[Tensor, "n_layers n_heads d_head d_model"]
    resid_mid: Float[Tensor, "n_layers batch pos d_model"] = None  # between heads and MLP, in a model that has MLPs

    def head_out(self, layer: int, head: int) -> Float[Tensor, "batch pos d_model"]:
        """What one head adds to the stream ([E21], "Attention Heads as Independent and Additive")."""
        check("head", (layer, head), Head, dict(zip(("n_layers", "n_heads"), self.W_O.shape, strict=False)))
        return self.z[layer][:, head] @ self.W_O[layer, head]

    def mlp_out(self, layer: int) -> Float[Tensor, "batch pos d_model"]:
        """What the MLP of a layer adds to the stream, in a model that has MLPs (chapter 11)."""
        if self.resid_mid is None:
            raise CourseError("the output of an MLP", "this model has none", "run one of TransformerConfig(mlp='gelu')")
        check("layer", layer, Layer, {"n_layers": len(self.W_O)})
        return self.resid[layer + 1] - self.resid_mid[layer]


AnyCache = Annotated[Cache, "pass the second value of model.run_with_cache(tokens)"]

# edit(name, value, layer, cache) sees each tensor of a run as it is made, and returns what the run goes on with:
# "resid" [batch, pos, d_model] (after the last layer it is that of layer n_layers), "q", "k", "v" and "z"
# [batch, n_heads, pos, d_head], "pattern" [batch, n_heads, query, key]; with MLPs also "resid_mid" [batch, pos,
# d_model] and "post" [batch, pos, d_mlp], the neurons.
Edit = Callable[[str, Tensor, int, Cache], Tensor]


class AttentionOnlyTransformer(nn.Module):
    """Token ids in, logits out, with the tensor names and shapes of TransformerLens."""

    @checked
    def __init__(self, cfg: Annotated[ModelConfig, "pass e.g. ModelConfig(n_layers=2)"]):
        super().__init__()
        self.cfg = cfg
        L, H, M, D = cfg.n_layers, cfg.n_heads, cfg.d_model, cfg.d_head
        self.W_E = nn.Parameter(torch.zeros(cfg.d_vocab, M))
        self.W_pos = nn.Parameter(torch.zeros(cfg.n_ctx, M))
        self.W_Q = nn.Parameter(torch.zeros(L, H, M, D))
        self.W_K = nn.Parameter(torch.zeros(L, H, M, D))
        self.W_V = nn.Parameter(torch.zeros(L, H, M, D))
        self.W_O = nn.Parameter(torch.zeros(L, H, D, M))
        self.W_U = nn.Parameter(torch.zeros(M, cfg.d_vocab))
        if cfg.smeared_keys:
            self.smear = nn.Parameter(torch.zeros(L, H))  # α: half and half at first

    @classmethod
    @checked
    def init(cls, cfg: ModelConfig, seed: Step = 0, positions: Rate = 0.5) -> "AttentionOnlyTransformer":
        """A model with random weights, drawn on the CPU: a seed gives the same start on every device.

        `positions` is the standard deviation of W_pos.
        """
        model, generator = cls(cfg), torch.Generator().manual_seed(seed)
        spread = {"W_E": 0.5, "W_pos": positions, "W_O": cfg.d_model**-0.5}
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if name.startswith("W_"):  # biases begin at 0, norms at 1, smears half and half
                    writes = max(1, 2 * cfg.n_layers) ** 0.5 if name in ("W_O", "W_out") else 1
                    weight.normal_(0, spread.get(name, weight.shape[-2] ** -0.5) / writes, generator=generator)
        return model

    def forward(self, tokens: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos d_vocab"]:
        """Logits of the next token at every position (fast path: patterns are not kept)."""
        return self.unembed(self.stream(tokens))

    def stream(self, tokens: Int[Tensor, "batch pos"], checked: bool = False) -> Float[Tensor, "batch pos d_model"]:
        """The residual stream after the last layer, by the fast path. `checked`: the tokens have been already."""
        return self.run(self.embed(tokens, checked), self._attend_fast)

    def run_with_cache(
        self, tokens: Int[Tensor, "batch pos"], edit: Edit | Sequence[Edit] | None = None
    ) -> tuple[Float[Tensor, "batch pos d_vocab"], Cache]:
        """Logits, and the attention patterns, head results and streams on the way; edits, if any, in their order."""
        edits = [] if edit is None else [edit] if callable(edit) else list(edit)
        cache = Cache([], [], [], self.W_O, [])

        def see(name: str, value: Tensor, layer: int) -> Tensor:
            for change in edits:
                value = change(name, value, layer, cache)
            if name in ("resid", "resid_mid", "pattern", "z"):
                getattr(cache, name).append(value)
            return value

        def attend(x: Tensor, layer: int) -> Tensor:
            q, k, v = (see(side, self.read(x, layer, side), layer) for side in "qkv")
            pattern = see("pattern", self.scores(q, k).softmax(dim=-1), layer)  # look
            return see("z", pattern @ v, layer)  # move: average the values

        x = self.run(self.embed(tokens), attend, see)
        cache.resid = torch.stack(cache.resid)
        B, P, H, D = *tokens.shape, self.cfg.n_heads, self.cfg.d_head
        cache.pattern = torch.stack(cache.pattern) if cache.pattern else x.new_zeros(0, B, H, P, P)
        cache.z = torch.stack(cache.z) if cache.z else x.new_zeros(0, B, H, P, D)
        cache.resid_mid = torch.stack(cache.resid_mid) if cache.resid_mid else None
        return self.unembed(x), cache

    def run(self, x: Tensor, attend: Callable, see=lambda name, value, layer: value, first: int = 0) -> Tensor:
        """The one forward, layer by layer from `first` on: heads move what they read and add it to the stream `x`."""
        for layer in range(first, self.cfg.n_layers):
            x = see("resid", x, layer)
            x = x + self.write(attend(x, layer), layer)
        return see("resid", x, self.cfg.n_layers)

    def embed(self, tokens: Int[Tensor, "batch pos"], checked: bool = False) -> Float[Tensor, "batch pos d_model"]:
        """The stream before layer 0."""
        if not checked:
            check_place(self, tokens)
            check("tokens", tokens, Tokens, {**vars(self.cfg)})
        return F.embedding(tokens.long(), self.W_E)  # it takes no 16-bit ids

    def unembed(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_vocab"]:
        """Logits of the stream after the last layer."""
        return x @ self.W_U

    def read(
        self, x: Float[Tensor, "*batch pos d_model"], layer: int, side: str, part_of: Tensor | None = None,
        first: int = 0,
    ) -> Float[Tensor, "*batch n_heads pos d_head"]:  # fmt: skip
        """All heads' queries, keys or values ("q", "k", "v") of `x`, which begins at position `first`.

        Queries and keys read positions, values don't. What `x`, a part of the stream `part_of`, contributes is linear
        in `x`: without positions. With smeared keys a key is mixed with the one before it.
        """
        W = {"q": self.W_Q, "k": self.W_K, "v": self.W_V}[side][layer]
        if part_of is None and side != "v":
            x = x + self.W_pos[first : first + x.shape[-2]]
        # [n_heads, d_model, d_head] -> one matrix [d_model, n_heads * d_head]: all heads in one product
        out = (x @ W.transpose(0, 1).flatten(1)).unflatten(-1, W.shape[::2]).transpose(-3, -2)
        return smeared(out, self.smear[layer]) if side == "k" and self.cfg.smeared_keys else out

    def scores(
        self, q: Float[Tensor, "*batch query d_head"], k: Float[Tensor, "*batch key d_head"]
    ) -> Float[Tensor, "*batch query key"]:
        """q kᵀ / √d_head; −∞ where a key lies after its query."""
        scores = q @ k.mT / self.cfg.d_head**0.5
        future = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device)
        future = future.triu(1 + k.shape[-2] - q.shape[-2])  # the last query is the last key's
        return scores.masked_fill(future, float("-inf"))

    def write(self, z: Float[Tensor, "batch n_heads pos d_head"], layer: int) -> Float[Tensor, "batch pos d_model"]:
        """What all heads of a layer together add to the stream."""
        return z.transpose(1, 2).flatten(-2) @ self.W_O[layer].flatten(0, 1)

    @checked
    def attention_scores(self, x: Stream, layer: Layer) -> Float[Tensor, "batch n_heads query key"]:
        """The scores of a layer that reads the stream `x`."""
        return self.scores(self.read(x, layer, "q"), self.read(x, layer, "k"))

    def _attend_fast(
        self, x: Float[Tensor, "batch pos d_model"], layer: int
    ) -> Float[Tensor, "batch n_heads pos d_head"]:
        """The same z by PyTorch's fused attention or, on a CPU, by two batched products."""
        q, k, v = (self.read(x, layer, side) for side in "qkv")
        if x.is_cuda:
            return F.scaled_dot_product_attention(q, k, v, is_causal=True)
        # With heads this small two batched products are 1.5 times as fast on a CPU.
        future = torch.full((x.shape[1], x.shape[1]), float("-inf"), device=x.device, dtype=q.dtype).triu(1)
        scores = torch.baddbmm(future, q.flatten(0, 1), k.flatten(0, 1).mT, alpha=self.cfg.d_head**-0.5)
        return (scores.softmax(-1) @ v.flatten(0, 1)).unflatten(0, (-1, self.cfg.n_heads))


def check_place(model: AttentionOnlyTransformer, tokens: Tensor) -> None:
    """Raise CourseError if `tokens` are on another device than the model."""
    device = model.W_E.device
    if getattr(tokens, "device", device) != device:
        rule = f"the model is on {device}"
        raise CourseError(f"tokens on {tokens.device}", rule, "move them there: tokens.to(model.W_E.device)")
