"""To and from TransformerLens (`pip install "course-utils[interop]"`), whose tensors have the names and shapes of ours.

Its `HookedTransformer` is in versions up to 3. Ours is the special case of attention alone, "shortformer" positions, no
normalisation and no biases; of that case both give the same logits.
"""

import warnings

import torch
from torch import Tensor

from course_utils.checked import checked
from course_utils.config import AnyModel, ModelConfig
from course_utils.errors import CourseError
from course_utils.model import AttentionOnlyTransformer

HEADS = ("W_Q", "W_K", "W_V", "W_O")
TABLES = {"W_E": "embed.W_E", "W_pos": "pos_embed.W_pos", "W_U": "unembed.W_U"}


@checked
def to_transformer_lens(model: AnyModel):
    """A HookedTransformer with the model's weights, on its device; its biases are zero and not trained.

    Raises CourseError for smeared keys, which it does not have, and when TransformerLens 3 is not installed.
    """
    cfg = model.cfg
    if cfg.smeared_keys:
        raise CourseError("smeared keys", "HookedTransformer has none", "use a model without them")
    HookedTransformer, HookedTransformerConfig = _library()
    hooked = HookedTransformer(
        HookedTransformerConfig(
            n_layers=cfg.n_layers, n_heads=cfg.n_heads, d_model=cfg.d_model, d_head=cfg.d_head, d_vocab=cfg.d_vocab,
            n_ctx=cfg.n_ctx, attn_only=True, normalization_type=None, positional_embedding_type="shortformer",
            device=str(model.W_E.device), dtype=model.W_E.dtype,
        )
    )  # fmt: skip
    with torch.no_grad():
        for name, weight in hooked.named_parameters():
            if ".b_" in name:
                weight.zero_().requires_grad_(False)
        for ours, theirs in TABLES.items():
            hooked.get_parameter(theirs).copy_(getattr(model, ours))
        for layer in range(cfg.n_layers):
            for name in HEADS:
                hooked.get_parameter(f"blocks.{layer}.attn.{name}").copy_(getattr(model, name)[layer])
    return hooked


def from_transformer_lens(hooked) -> AttentionOnlyTransformer:
    """Our model with a HookedTransformer's weights, in eval mode; on it all circuits of the course can be read.

    Raises CourseError for what our model can't hold: MLPs, LayerNorm, biases that are not zero, other positions.
    """
    theirs = getattr(hooked, "cfg", None)
    if not hasattr(theirs, "attn_only") or not hasattr(hooked, "state_dict"):
        rule = "it must be a HookedTransformer of TransformerLens"
        raise CourseError(f"a {type(hooked).__name__}", rule, "pass HookedTransformer.from_pretrained(...)")
    _check_kind(theirs)
    state = hooked.state_dict()
    for name, weight in state.items():
        if ".b_" in name and weight.abs().max() > 0:
            rule = "the course's models have no biases, and this one is not zero"
            raise CourseError(f"{name}", rule, "use a model that was trained without biases")
    cfg = ModelConfig(theirs.n_layers, theirs.n_heads, theirs.d_model, theirs.d_head, theirs.d_vocab, theirs.n_ctx)
    with torch.device("meta"):
        model = AttentionOnlyTransformer(cfg)

    def heads(name: str) -> Tensor:
        layers = [state[f"blocks.{layer}.attn.{name}"] for layer in range(cfg.n_layers)]
        return torch.stack(layers) if layers else state["embed.W_E"].new_zeros(getattr(model, name).shape)

    weights = {ours: state[place] for ours, place in TABLES.items()} | {name: heads(name) for name in HEADS}
    model.load_state_dict({name: weight.detach().clone() for name, weight in weights.items()}, assign=True)
    return model.requires_grad_(False).eval()


def _check_kind(cfg) -> None:
    """Raise CourseError unless the configuration is of the kind that our model is."""
    wanted = {
        "attn_only": (True, "our models have no MLPs"),
        "normalization_type": (None, "our models have no LayerNorm, which is no linear map and can't be folded away"),
        "positional_embedding_type": ("shortformer", "our positions are read by queries and keys alone"),
        "attention_dir": ("causal", "our heads look back"),
        "use_local_attn": (False, "our heads may look at every earlier position"),
        "attn_scale": (cfg.d_head**0.5, "our scores are divided by √d_head"),
        "use_attn_scale": (True, "our scores are divided by √d_head"),
        "scale_attn_by_inverse_layer_idx": (False, "our scores are divided by √d_head in every layer"),
        "d_vocab_out": (cfg.d_vocab, "our outputs are the tokens of the input"),
    }
    for name, (value, rule) in wanted.items():
        found = getattr(cfg, name, value)
        if found != value:
            remedy = f"use a model with {name} = {value!r}, such as those of to_transformer_lens"
            raise CourseError(f"{name} is {found!r}", rule, remedy)


def _library():
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            from transformer_lens import HookedTransformer, HookedTransformerConfig
    except ImportError as error:
        rule = "TransformerLens 3 is needed, in which HookedTransformer is"
        remedy = 'python -m pip install "transformer-lens<4", best in an environment of its own'
        raise CourseError("transformer_lens", rule, remedy) from error
    return HookedTransformer, HookedTransformerConfig
