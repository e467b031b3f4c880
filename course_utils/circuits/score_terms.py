"""A head's scores as a sum over pairs of parts ([E21], "Path Expansion of Attention Scores QK Circuit")."""

from collections.abc import Mapping
from typing import Annotated

import torch
from jaxtyping import Float
from torch import Tensor

from course_utils.checked import FILLED, check, checked, within
from course_utils.circuits.qk_ov import W_OV, W_QK, centre
from course_utils.config import AnyModel, Head, HeadNumber, Layer, Stream
from course_utils.factored import FactoredMatrix
from course_utils.model import AnyCache

Parts = Annotated[Mapping[str, Stream], FILLED, "take them from stream_parts"]


@checked
def score_terms(
    model: AnyModel, resid_parts: Parts, layer: Layer, head: HeadNumber
) -> Float[Tensor, "query_part key_part batch query key"]:
    """A head's scores as a sum: the term of each part of what queries read with each part of what keys read.

    `resid_parts`: what the stream before this layer is the sum of, from `stream_parts`, positions included. Divided
    by √d_head; later keys are not masked. Of a model with norms, with their scales held; biases of reading left out.
    """
    parts = torch.stack(list(resid_parts.values()))
    stream = sum(part for name, part in resid_parts.items() if name != "position")  # `read` adds them by itself
    q, k = (model.read(parts, layer, side, part_of=stream)[..., head, :, :] for side in "qk")
    return torch.einsum("ibqd,jbkd->ijbqk", q, k) / model.cfg.d_head**0.5


@checked
def stream_parts(model: AnyModel, cache: AnyCache, layer: int) -> dict[str, Stream]:
    """What queries and keys of `layer` read, part by part: "token", "position", then each earlier head, "0.0" …

    Where they were put back, also "0.bias" and "0.mlp"; positions that are in the stream are a part of "token".
    """
    check("layer", layer, Annotated[int, within(0, model.cfg.n_layers)])
    parts = {"token": cache.resid[0]}
    if getattr(model.cfg, "positions", "read") == "read":
        parts["position"] = model.W_pos[: parts["token"].shape[1]].expand_as(parts["token"])
    for at in range(layer):
        parts |= {f"{at}.{head}": cache.head_out(at, head) for head in range(model.cfg.n_heads)}
        parts |= {f"{at}.bias": model.b_O[at].expand_as(parts["token"])} if hasattr(model, "b_O") else {}
        parts |= {f"{at}.mlp": cache.mlp_out(at)} if cache.resid_mid is not None else {}
    return parts


@checked
def qk_circuit_through(model: AnyModel, later: Head, earlier: Head, centred: bool = False) -> FactoredMatrix:
    """W_E W_QK² (W_E W_OV¹)ᵀ [destination token, token that the earlier head carried into the key]: K-composition.

    The term Id ⊗ A ⊗ W of the later head's scores ([E21], "Path Expansion of Attention Scores QK Circuit"): what it
    looks for among the tokens that the earlier head has moved. `centred` as in `qk_circuit`.
    """
    carried = (centre(model.W_E, dim=0) if centred else model.W_E) @ W_OV(model, *earlier)
    return model.W_E @ W_QK(model, *later) @ carried.T
