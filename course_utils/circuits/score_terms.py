"""A head's scores as a sum over pairs of parts ([E21], "Path Expansion of Attention Scores QK Circuit")."""

import torch
from jaxtyping import Float
from torch import Tensor

from course_utils.circuits.qk_ov import W_OV, W_QK, centre
from course_utils.errors import CourseError, check_integer, check_titled, check_type, is_integer
from course_utils.factored import FactoredMatrix
from course_utils.model import AttentionOnlyTransformer, Cache, check_head, check_model, check_stream


def score_terms(
    model: AttentionOnlyTransformer, resid_parts: dict[str, Float[Tensor, "batch pos d_model"]], layer: int, head: int
) -> Float[Tensor, "query_part key_part batch query key"]:
    """A head's scores as a sum: the term of each part of what queries read with each part of what keys read.

    `resid_parts`: what the stream before this layer is the sum of, from `stream_parts`, positions included. Divided
    by √d_head; later keys are not masked.
    """
    check_model(model)
    check_head(model.cfg.n_layers, model.cfg.n_heads, layer, head)
    check_titled("resid_parts", resid_parts)
    for part in resid_parts.values():
        check_stream(part, model.cfg)
    if len({part.shape for part in resid_parts.values()}) > 1:
        shapes = [list(part.shape) for part in resid_parts.values()]
        raise CourseError(f"parts of shapes {shapes}", "they must be of one shape", "take them from stream_parts")
    parts = torch.stack(list(resid_parts.values()))
    q, k = (model.read(parts, layer, side, positions=False)[..., head, :, :] for side in "qk")
    return torch.einsum("ibqd,jbkd->ijbqk", q, k) / model.cfg.d_head**0.5


def stream_parts(
    model: AttentionOnlyTransformer, cache: Cache, layer: int
) -> dict[str, Float[Tensor, "batch pos d_model"]]:
    """What queries and keys of `layer` read, part by part: "token", "position", then each earlier head, "0.0" …"""
    check_type("cache", cache, Cache, "pass the second value of model.run_with_cache(tokens)")
    check_integer("layer", layer, 0, model.cfg.n_layers)
    token = cache.resid[0]
    position = model.W_pos[: token.shape[1]].expand_as(token)
    heads = [(earlier, head) for earlier in range(layer) for head in range(model.cfg.n_heads)]
    return {"token": token, "position": position} | {f"{at}.{head}": cache.head_out(at, head) for at, head in heads}


def qk_circuit_through(
    model: AttentionOnlyTransformer, later: tuple[int, int], earlier: tuple[int, int], centred: bool = False
) -> FactoredMatrix:
    """W_E W_QK² (W_E W_OV¹)ᵀ [destination token, token that the earlier head carried into the key]: K-composition.

    The term Id ⊗ A ⊗ W of the later head's scores ([E21], "Path Expansion of Attention Scores QK Circuit"): what it
    looks for among the tokens that the earlier head has moved. `centred` as in `qk_circuit`.
    """
    for head in (later, earlier):
        check_pair(head)
    carried = (centre(model.W_E, dim=0) if centred else model.W_E) @ W_OV(model, *earlier)
    return model.W_E @ W_QK(model, *later) @ carried.T


def check_pair(head) -> None:
    """Raise CourseError unless `head` is two integers, (layer, head)."""
    if not isinstance(head, tuple | list) or len(head) != 2 or not all(map(is_integer, head)):
        raise CourseError(f"head {head!r}", "a head is two numbers, (layer, head)", "write e.g. (1, 6)")
