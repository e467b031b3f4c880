"""The attention-only transformer of [E21]: embed, let heads add to the residual stream, unembed.

No MLPs, no biases, no LayerNorm, so every identity of the paper is exact here. Positions are added to what queries and
keys read, in every layer, and never to the stream itself ("shortformer" positions, as in the paper).
Rows are multiplied: a stream vector is x [d_model], and a matrix acts as x @ W.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from course_utils.config import ModelConfig
from course_utils.errors import CourseError, check_integer, check_number, check_type, is_integer


@dataclass
class Cache:
    """What `run_with_cache` keeps of one run."""

    pattern: Float[Tensor, "n_layers batch n_heads query key"]  # attention; each row sums to 1
    z: Float[Tensor, "n_layers batch n_heads pos d_head"]  # values, averaged by the pattern
    resid: Float[Tensor, "n_layers_plus_1 batch pos d_model"]  # the stream before layer 0, after layer 0, ...
    W_O: Float[Tensor, "n_layers n_heads d_head d_model"]

    def head_out(self, layer: int, head: int) -> Float[Tensor, "batch pos d_model"]:
        """What one head adds to the stream ([E21], "Attention Heads as Independent and Additive")."""
        check_head(len(self.z), self.z.shape[2], layer, head)
        return self.z[layer, :, head] @ self.W_O[layer, head]


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
        x = self._embed(tokens, checked)
        for layer in range(self.cfg.n_layers):
            x = x + self._attend_fast(x, layer)
        return x

    def run_with_cache(self, tokens: Int[Tensor, "batch pos"]) -> tuple[Float[Tensor, "batch pos d_vocab"], Cache]:
        """Logits, and the attention patterns, head results and streams on the way (the path to read)."""
        x = self._embed(tokens)
        resid, patterns, zs = [x], [], []
        for layer in range(self.cfg.n_layers):
            pattern = self.attention_scores(x, layer).softmax(dim=-1)
            v = torch.einsum("bpm,hmd->bhpd", x, self.W_V[layer])
            z = pattern @ v  # move: average the values
            x = x + torch.einsum("bhpd,hdm->bpm", z, self.W_O[layer])  # write: every head adds
            resid.append(x), patterns.append(pattern), zs.append(z)
        B, P, H, D = *tokens.shape, self.cfg.n_heads, self.cfg.d_head
        cache = Cache(
            pattern=torch.stack(patterns) if patterns else x.new_zeros(0, B, H, P, P),
            z=torch.stack(zs) if zs else x.new_zeros(0, B, H, P, D),
            resid=torch.stack(resid),
            W_O=self.W_O,
        )
        return x @ self.W_U, cache

    def attention_scores(
        self, x: Float[Tensor, "batch pos d_model"], layer: int
    ) -> Float[Tensor, "batch n_heads query key"]:
        """Scores before the softmax, divided by √d_head; −∞ where a key lies after its query."""
        check_integer("layer", layer, 0, self.cfg.n_layers - 1)
        check_stream(x, self.cfg)
        at = x + self.W_pos[: x.shape[1]]  # queries and keys read positions, values don't
        q = torch.einsum("bpm,hmd->bhpd", at, self.W_Q[layer])
        k = self.smeared(torch.einsum("bpm,hmd->bhpd", at, self.W_K[layer]), layer)
        scores = q @ k.transpose(-1, -2) / self.cfg.d_head**0.5
        future = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).triu(1)
        return scores.masked_fill(future, float("-inf"))

    def smeared(self, k: Float[Tensor, "*batch n_heads pos d_head"], layer: int) -> Tensor:
        """Keys k_j as they are or, with smeared keys, σ(α) k_j + (1 − σ(α)) k_{j−1}; each head learns its α."""
        if not self.cfg.smeared_keys:
            return k
        own = self.smear[layer].sigmoid()[:, None, None]
        before = torch.cat([k[..., :1, :], k[..., :-1, :]], dim=-2)  # the first key has none before it
        return own * k + (1 - own) * before

    def _embed(self, tokens: Int[Tensor, "batch pos"], checked: bool = False) -> Float[Tensor, "batch pos d_model"]:
        if not checked:
            check_tokens(tokens, self.cfg, self.W_E.device)
        return F.embedding(tokens.long(), self.W_E)  # it takes no 16-bit ids

    def _attend_fast(self, x: Float[Tensor, "batch pos d_model"], layer: int) -> Float[Tensor, "batch pos d_model"]:
        """The same sum over heads with the heads' matrices side by side and PyTorch's fused attention."""
        H, M, D = self.cfg.n_heads, self.cfg.d_model, self.cfg.d_head
        at = x + self.W_pos[: x.shape[1]]

        def read(source, W):  # [H, M, D] -> one matrix [M, H*D]: all heads in one product
            return (source @ W.permute(1, 0, 2).reshape(M, H * D)).unflatten(-1, (H, D)).transpose(1, 2)

        q, k, v = read(at, self.W_Q[layer]), self.smeared(read(at, self.W_K[layer]), layer), read(x, self.W_V[layer])
        if x.is_cuda:
            z = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:  # with heads this small two batched products are 1.5 times as fast on a CPU
            future = torch.full((x.shape[1], x.shape[1]), float("-inf"), device=x.device, dtype=q.dtype).triu(1)
            scores = torch.baddbmm(future, q.flatten(0, 1), k.flatten(0, 1).transpose(1, 2), alpha=D**-0.5)
            z = (scores.softmax(-1) @ v.flatten(0, 1)).unflatten(0, (-1, H))
        return z.transpose(1, 2).flatten(-2) @ self.W_O[layer].reshape(H * D, M)


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
