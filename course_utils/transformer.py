"""The transformer with what the paper leaves out put back: norms, biases, MLPs, other positions (chapters 11 and 12).

Each has its place in the one forward of `model.py`; what that model says of streams, heads and edits holds here too.
Names are TransformerLens's, with a _ for its dots: `ln1_w` is its `blocks.{layer}.ln1.w`.
"""

from typing import Annotated

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from course_utils.checked import checked
from course_utils.config import ModelConfig, TransformerConfig
from course_utils.model import AttentionOnlyTransformer


class Transformer(AttentionOnlyTransformer):
    """Token ids in, logits out; without anything put back it is the attention-only transformer."""

    @checked
    def __init__(self, cfg: Annotated[TransformerConfig, "pass e.g. TransformerConfig(norm='layer')"]):
        super().__init__(cfg)
        L, H, M, D, N = cfg.n_layers, cfg.n_heads, cfg.d_model, cfg.d_head, cfg.d_mlp
        has_mlp, vectors = cfg.mlp != "none", {}
        if cfg.positions == "rotary":
            del self.W_pos
        if has_mlp:
            self.W_in, self.W_out = nn.Parameter(torch.zeros(L, M, N)), nn.Parameter(torch.zeros(L, N, M))
        if cfg.mlp == "gated":
            self.W_gate = nn.Parameter(torch.zeros(L, M, N))
        norms = {"ln1": (L, M), "ln_final": (M,)} | ({"ln2": (L, M)} if has_mlp else {}) if cfg.norm != "none" else {}
        for name, shape in norms.items():
            setattr(self, f"{name}_w", nn.Parameter(torch.ones(shape)))
        if cfg.biases:
            vectors = {"b_Q": (L, H, D), "b_K": (L, H, D), "b_V": (L, H, D), "b_O": (L, M), "b_U": (cfg.d_vocab,)}
            vectors |= {"b_in": (L, N), "b_out": (L, M)} if has_mlp else {}
            vectors |= {"b_gate": (L, N)} if cfg.mlp == "gated" else {}
            vectors |= {f"{name}_b": shape for name, shape in norms.items()} if cfg.norm == "layer" else {}
        for name, shape in vectors.items():
            setattr(self, name, nn.Parameter(torch.zeros(shape)))

    def run(self, x: Tensor, attend, see=lambda name, value, layer: value, first: int = 0) -> Tensor:
        if self.cfg.mlp == "none":
            return super().run(x, attend, see, first)
        for layer in range(first, self.cfg.n_layers):
            x = see("resid", x, layer)
            x = see("resid_mid", x + self.write(attend(x, layer), layer), layer)
            x = x + self.write_neurons(see("post", self.neurons(x, layer), layer), layer)
        return see("resid", x, self.cfg.n_layers)

    def embed(self, tokens: Int[Tensor, "batch pos"], checked: bool = False) -> Float[Tensor, "batch pos d_model"]:
        x = super().embed(tokens, checked)
        return x + self.W_pos[: x.shape[-2]] if self.cfg.positions == "stream" else x

    def unembed(
        self, x: Float[Tensor, "*batch d_model"], part_of: Tensor | None = None
    ) -> Float[Tensor, "*batch d_vocab"]:
        logits = super().unembed(self.normalised(x, "ln_final", part_of=part_of))
        return logits + self.b_U if self.cfg.biases and part_of is None else logits

    def read(
        self, x: Float[Tensor, "*batch pos d_model"], layer: int, side: str, part_of: Tensor | None = None,
        first: int = 0,
    ) -> Float[Tensor, "*batch n_heads pos d_head"]:  # fmt: skip
        """All heads' queries, keys or values of `x`, as in `AttentionOnlyTransformer.read`.

        What a part contributes is linear in it: it is divided by the scale that the norm gives the whole stream
        `part_of`, and has no biases.
        """
        if self.cfg.positions == "read" and side != "v":
            place = self.W_pos[first : first + x.shape[-2]]
            x, part_of = (x + place, None) if part_of is None else (x, part_of + place)
        x = self.normalised(x, "ln1", layer, part_of)
        out = super().read(x, layer, side, part_of=x)  # what positions add is in it
        if self.cfg.biases and part_of is None:
            out = out + {"q": self.b_Q, "k": self.b_K, "v": self.b_V}[side][layer][:, None]
        turns = self.cfg.positions == "rotary" and side != "v"
        return rotated(out, self.cfg.rotary_base, first) if turns else out

    def write(self, z: Float[Tensor, "batch n_heads pos d_head"], layer: int) -> Float[Tensor, "batch pos d_model"]:
        return super().write(z, layer) + (self.b_O[layer] if self.cfg.biases else 0)

    def pre_activations(
        self, x: Float[Tensor, "*batch d_model"], layer: int, part_of: Tensor | None = None
    ) -> Float[Tensor, "*batch d_mlp"]:
        """What the neurons of a layer get before their nonlinearity; of a part of the stream as in `read`."""
        pre = self.normalised(x, "ln2", layer, part_of) @ self.W_in[layer]
        return pre + self.b_in[layer] if self.cfg.biases and part_of is None else pre

    def neurons(self, x: Float[Tensor, "*batch d_model"], layer: int) -> Float[Tensor, "*batch d_mlp"]:
        """The neurons' activations: GELU of what they get or, gated, SiLU of the gate times what they get."""
        pre = self.pre_activations(x, layer)
        if self.cfg.mlp == "gelu":
            return F.gelu(pre)
        gate = self.normalised(x, "ln2", layer) @ self.W_gate[layer]
        return F.silu(gate + self.b_gate[layer] if self.cfg.biases else gate) * pre

    def write_neurons(self, post: Float[Tensor, "*batch d_mlp"], layer: int) -> Float[Tensor, "*batch d_model"]:
        """What all neurons of a layer together add to the stream."""
        return post @ self.W_out[layer] + (self.b_out[layer] if self.cfg.biases else 0)

    def normalised(
        self, x: Float[Tensor, "*batch d_model"], norm: str, layer: int | None = None, part_of: Tensor | None = None
    ) -> Float[Tensor, "*batch d_model"]:
        """`x` as what comes after the norm "ln1", "ln2" or "ln_final" reads it; without norms, as it is.

        LayerNorm takes the mean over coordinates off, which is linear; both divide by a scale, the root of the mean
        square, which is not. A part has the scale of the whole stream `part_of`: with that scale held, it is linear.
        """
        if self.cfg.norm == "none":
            return x
        w, b = (getattr(self, f"{norm}_{kind}", None) for kind in "wb")
        w, b = (each if each is None or layer is None else each[layer] for each in (w, b))
        if part_of is None:
            if self.cfg.norm == "layer":
                return F.layer_norm(x, x.shape[-1:], w, b, self.cfg.norm_eps)
            return F.rms_norm(x, x.shape[-1:], w, self.cfg.norm_eps)
        if self.cfg.norm == "layer":
            x, part_of = (each - each.mean(-1, keepdim=True) for each in (x, part_of))
        return x * (part_of.square().mean(-1, keepdim=True) + self.cfg.norm_eps).rsqrt() * w


def rotated(x: Float[Tensor, "*batch pos d_head"], base: float, first: int = 0) -> Float[Tensor, "*batch pos d_head"]:
    """Rotary positions [su2021]: pairs of coordinates (0, 1), (2, 3) … turned, each pair by its angle times position.

    A query's product with a key then depends on their contents and on how far apart they are.
    """
    pairs = x.shape[-1] // 2
    speed = base ** (-torch.arange(pairs, dtype=torch.float64) / pairs)  # on the CPU: Apple's GPU has no 64 bits
    angle = torch.arange(first, first + x.shape[-2])[:, None] * speed
    cos, sin = (each.to(x.dtype).to(x.device, non_blocking=True) for each in (angle.cos(), angle.sin()))
    a, b = x.unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack((a * cos - b * sin, a * sin + b * cos), dim=-1).flatten(-2)


@checked
def fold_norms(model: Annotated[Transformer, "pass a model that has norms"]) -> Transformer:
    """The model with the weights of its norms multiplied into those that read them; it computes the same.

    What stays of a norm is its division by the scale. In place: a copy of a large model would fill the memory.
    """

    def fold(norm: str, *readers: tuple[str, str]) -> None:
        w, b = getattr(model, f"{norm}_w"), getattr(model, f"{norm}_b", None)
        heads = (slice(None), None) if norm == "ln1" else ()  # [layer, d_model] beside [layer, head, d_model, d_head]
        for weight, bias in readers:
            W = getattr(model, weight)
            if b is not None:
                getattr(model, bias).data += (b[heads].unsqueeze(-2) @ W).squeeze(-2)
            W.data = W * w[heads].unsqueeze(-1)  # W_U may be W_E, read the other way: a tensor of its own from now on
        w.data.fill_(1), b is None or b.data.zero_()

    if model.cfg.norm != "none":
        fold("ln1", ("W_Q", "b_Q"), ("W_K", "b_K"), ("W_V", "b_V"))
        fold("ln_final", ("W_U", "b_U"))
    if model.cfg.norm != "none" and model.cfg.mlp != "none":
        fold("ln2", ("W_in", "b_in"), *([("W_gate", "b_gate")] if model.cfg.mlp == "gated" else []))
    return model


@checked
def class_of(cfg: Annotated[ModelConfig, "see RECIPES"]) -> type[AttentionOnlyTransformer]:
    """The class of model that a configuration is of."""
    return Transformer if isinstance(cfg, TransformerConfig) else AttentionOnlyTransformer
