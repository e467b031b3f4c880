"""The attention-only transformer of [E21]: embed, let heads add to the residual stream, unembed.

No MLPs, no biases, no LayerNorm, so every identity of the paper is exact here. Positions are added to what queries and
keys read, in every layer, and never to the stream itself ("shortformer" positions, as in the paper).
Rows are multiplied: a stream vector is x [d_model], and a matrix acts as x @ W.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from course_utils.config import ModelConfig
from course_utils.errors import CourseError, check_integer, check_number, check_type, is_integer
from course_utils.smeared_keys import smeared


@dataclass
class Cache:
    """What `run_with_cache` keeps of one run. An edit sees it as it grows: one entry for each layer so far."""

    pattern: Float[Tensor, "n_layers batch n_heads query key"]  # attention; each row sums to 1
    z: Float[Tensor, "n_layers batch n_heads pos d_head"]  # values, averaged by the pattern
    resid: Float[Tensor, "n_layers_plus_1 batch pos d_model"]  # the stream before layer 0, after layer 0, ...
    W_O: Float[Tensor, "n_layers n_heads d_head d_model"]

    def head_out(self, layer: int, head: int) -> Float[Tensor, "batch pos d_model"]:
        """What one head adds to the stream ([E21], "Attention Heads as Independent and Additive")."""
        check_head(*self.W_O.shape[:2], layer, head)
        return self.z[layer][:, head] @ self.W_O[layer, head]


# edit(name, value, layer, cache) sees each tensor of a run as it is made, and returns what the run goes on with:
# "resid" [batch, pos, d_model] (after the last layer it is that of layer n_layers), "q", "k", "v" and "z"
# [batch, n_heads, pos, d_head], "pattern" [batch, n_heads, query, key].
Edit = Callable[[str, Tensor, int, Cache], Tensor]


class AttentionOnlyTransformer(nn.Module):
    """Token ids in, logits out, with the tensor names and shapes of TransformerLens."""

    def __init__(self, cfg: ModelConfig):
        super().__init__()
        check_type("cfg", cfg, ModelConfig, "pass e.g. ModelConfig(n_layers=2)")
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
    def init(cls, cfg: ModelConfig, seed: int = 0, positions: float = 0.5) -> "AttentionOnlyTransformer":
        """A model with random weights, drawn on the CPU: a seed gives the same start on every device.

        `positions` is the standard deviation of W_pos.
        """
        check_integer("seed", seed)
        check_number("positions", positions)
        model, generator = cls(cfg), torch.Generator().manual_seed(seed)
        spread = {"W_E": 0.5, "W_pos": positions, "W_O": cfg.d_model**-0.5 / max(1, 2 * cfg.n_layers) ** 0.5}
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if name == "smear":
                    continue
                weight.normal_(0, spread.get(name, cfg.d_model**-0.5), generator=generator)
        return model

    def forward(self, tokens: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos d_vocab"]:
        """Logits of the next token at every position (fast path: patterns are not kept)."""
        return self.stream(tokens) @ self.W_U

    def stream(self, tokens: Int[Tensor, "batch pos"], checked: bool = False) -> Float[Tensor, "batch pos d_model"]:
        """The residual stream after the last layer, by the fast path. `checked`: `check_tokens` has seen the tokens."""
        return self._run(self.embed(tokens, checked), self._attend_fast)

    def run_with_cache(
        self, tokens: Int[Tensor, "batch pos"], edit: Edit | Sequence[Edit] | None = None
    ) -> tuple[Float[Tensor, "batch pos d_vocab"], Cache]:
        """Logits, and the attention patterns, head results and streams on the way; edits, if any, in their order."""
        edits = [] if edit is None else [edit] if callable(edit) else list(edit)
        cache = Cache([], [], [], self.W_O)

        def see(name: str, value: Tensor, layer: int) -> Tensor:
            for change in edits:
                value = change(name, value, layer, cache)
            if name in ("resid", "pattern", "z"):
                getattr(cache, name).append(value)
            return value

        def attend(x: Tensor, layer: int) -> Tensor:
            q, k, v = (see(side, self.read(x, layer, side), layer) for side in "qkv")
            pattern = see("pattern", self.scores(q, k).softmax(dim=-1), layer)  # look
            return see("z", pattern @ v, layer)  # move: average the values

        x = self._run(self.embed(tokens), attend, see)
        cache.resid = torch.stack(cache.resid)
        B, P, H, D = *tokens.shape, self.cfg.n_heads, self.cfg.d_head
        cache.pattern = torch.stack(cache.pattern) if cache.pattern else x.new_zeros(0, B, H, P, P)
        cache.z = torch.stack(cache.z) if cache.z else x.new_zeros(0, B, H, P, D)
        return x @ self.W_U, cache

    def _run(self, x: Tensor, attend: Callable, see=lambda name, value, layer: value) -> Tensor:
        """The one forward: layer after layer, heads move what they read and add it to the stream."""
        for layer in range(self.cfg.n_layers):
            x = see("resid", x, layer)
            x = x + self.write(attend(x, layer), layer)
        return see("resid", x, self.cfg.n_layers)

    def embed(self, tokens: Int[Tensor, "batch pos"], checked: bool = False) -> Float[Tensor, "batch pos d_model"]:
        """The stream before layer 0."""
        if not checked:
            check_tokens(tokens, self.cfg, self.W_E.device)
        return F.embedding(tokens.long(), self.W_E)  # it takes no 16-bit ids

    def read(
        self, x: Float[Tensor, "*batch pos d_model"], layer: int, side: str, positions: bool = True
    ) -> Float[Tensor, "*batch n_heads pos d_head"]:
        """All heads' queries, keys or values ("q", "k", "v") of `x`.

        Queries and keys read positions, values don't. Without `positions` it is linear in `x`: what a part of the
        stream contributes. With smeared keys a key is mixed with the one before it.
        """
        W = {"q": self.W_Q, "k": self.W_K, "v": self.W_V}[side][layer]
        if positions and side != "v":
            x = x + self.W_pos[: x.shape[-2]]
        # [n_heads, d_model, d_head] -> one matrix [d_model, n_heads * d_head]: all heads in one product
        out = (x @ W.transpose(0, 1).flatten(1)).unflatten(-1, W.shape[::2]).transpose(-3, -2)
        return smeared(out, self.smear[layer]) if side == "k" and self.cfg.smeared_keys else out

    def scores(
        self, q: Float[Tensor, "*batch query d_head"], k: Float[Tensor, "*batch key d_head"]
    ) -> Float[Tensor, "*batch query key"]:
        """q kᵀ / √d_head; −∞ where a key lies after its query."""
        scores = q @ k.mT / self.cfg.d_head**0.5
        future = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        return scores.masked_fill(future, float("-inf"))

    def write(self, z: Float[Tensor, "batch n_heads pos d_head"], layer: int) -> Float[Tensor, "batch pos d_model"]:
        """What all heads of a layer together add to the stream."""
        return z.transpose(1, 2).flatten(-2) @ self.W_O[layer].flatten(0, 1)

    def attention_scores(
        self, x: Float[Tensor, "batch pos d_model"], layer: int
    ) -> Float[Tensor, "batch n_heads query key"]:
        """The scores of a layer that reads the stream `x`."""
        check_integer("layer", layer, 0, self.cfg.n_layers - 1)
        check_stream(x, self.cfg)
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


def check_tokens(tokens: Tensor, cfg: ModelConfig, device: torch.device | None = None) -> None:
    """Raise CourseError unless `tokens` are integer ids [batch, pos] that this model can read, on `device` if given."""
    if not isinstance(tokens, Tensor):
        remedy = "pass torch.tensor(tokenizer.encode(text))[None]"
        raise CourseError(f"tokens of type {type(tokens).__name__}", "they must be a tensor of ids", remedy)
    shape = list(tokens.shape)
    if tokens.ndim != 2 or 0 in shape:
        raise CourseError(
            f"tokens of shape {shape}", "they must be [batch, pos], not empty", "add a batch axis: tokens[None]"
        )
    if tokens.is_floating_point() or tokens.dtype == torch.bool:
        raise CourseError(f"tokens of dtype {tokens.dtype}", "they must be integer ids", "use tokenizer.encode(text)")
    if tokens.shape[1] > cfg.n_ctx:
        raise CourseError(
            f"a context of {tokens.shape[1]} tokens",
            f"this model reads {cfg.n_ctx} at most",
            "cut it with course_utils.windows",
        )
    if device is not None and tokens.device != device:
        rule = f"the model is on {device}"
        raise CourseError(f"tokens on {tokens.device}", rule, "move them there: tokens.to(model.W_E.device)")
    low, high = tokens.min().item(), tokens.max().item()
    if low < 0 or high >= cfg.d_vocab:
        raise CourseError(
            f"token ids from {low} to {high}",
            f"this model knows 0 to {cfg.d_vocab - 1}",
            f"use load_tokenizer({cfg.d_vocab}), the model's own",
        )


def check_stream(x: Tensor, cfg: ModelConfig) -> None:
    """Raise CourseError unless `x` is a residual stream [batch, pos, d_model] of this model."""
    shape = list(getattr(x, "shape", []))
    if not isinstance(x, Tensor) or len(shape) != 3 or shape[2] != cfg.d_model or not 1 <= shape[1] <= cfg.n_ctx:
        rule = f"it must be [batch, pos, d_model], with at most {cfg.n_ctx} positions and d_model = {cfg.d_model}"
        raise CourseError(f"a stream of shape {shape}", rule, "take one of cache.resid")


def check_head(n_layers: int, n_heads: int, layer: int, head: int) -> None:
    """Raise CourseError unless a model of these sizes has this head."""
    if not (is_integer(layer) and is_integer(head) and 0 <= layer < n_layers and 0 <= head < n_heads):
        rule = f"this model has layers 0 to {n_layers - 1} and heads 0 to {n_heads - 1}"
        raise CourseError(
            f"head {layer}.{head}", rule if n_layers else "this model has no heads", "choose one of these"
        )


def check_model(model) -> None:
    """Raise CourseError unless this has the sizes that a model of ours has."""
    if not hasattr(model, "cfg"):
        raise CourseError(f"model of type {type(model).__name__}", "it is no model", "pass what load_model gives")
