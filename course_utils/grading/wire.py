"""What passes between the process that judges and the one that answers: plain values, tensors, models. Never pickles.

A frame is its length and then JSON. What comes back was made by a stranger: it is read as data, or not at all.
"""

import base64
import json
from typing import Any, BinaryIO

import numpy as np
import torch

from course_utils.config import ModelConfig, TransformerConfig
from course_utils.factored import FactoredMatrix
from course_utils.model import AttentionOnlyTransformer
from course_utils.transformer import class_of

LONGEST = 256 << 20  # bytes of a frame: a trained model takes up to 60 MB
MARK = "kind"
CONFIGS = {kind.__name__: kind for kind in (ModelConfig, TransformerConfig)}
TYPES = {
    str(kind).removeprefix("torch."): kind
    for kind in (
        torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64,
        torch.float16, torch.float32, torch.float64, torch.complex64, torch.complex128,
    )
}  # fmt: skip


class Garbled(Exception):
    """What arrived is no frame."""


class Opaque:
    """In place of a value of a kind that does not travel."""

    def __init__(self, kind: str):
        self.kind = kind

    def __repr__(self) -> str:
        return f"<{self.kind}>"


def pack(value: Any) -> Any:
    """A value as JSON has it."""
    match value:
        case None | bool() | str():
            return value
        case int() | float():
            return value.item() if isinstance(value, np.generic) else value
        case complex():
            return {MARK: "complex", "of": [value.real, value.imag]}
        case np.bool_() | np.integer() | np.floating():
            return value.item()
        case list():
            return [pack(each) for each in value]
        case tuple():
            return {MARK: "tuple", "of": [pack(each) for each in value]}
        case dict():
            return {MARK: "dict", "of": [[pack(key), pack(each)] for key, each in value.items()]}
        case np.ndarray() if value.dtype != object:
            return {MARK: "array", "of": pack(torch.from_numpy(np.ascontiguousarray(value)))}
        case torch.Tensor() if str(value.dtype).removeprefix("torch.") in TYPES:
            raw = value.detach().cpu().resolve_conj().contiguous().numpy().tobytes()
            name = str(value.dtype).removeprefix("torch.")
            return {MARK: "tensor", "type": name, "shape": list(value.shape), "raw": base64.b64encode(raw).decode()}
        case FactoredMatrix():
            return {MARK: "factored", "of": [pack(value.A), pack(value.B)]}
        case ModelConfig():
            name = "TransformerConfig" if isinstance(value, TransformerConfig) else "ModelConfig"
            return {MARK: name, "of": value.to_dict()}
        case AttentionOnlyTransformer():
            state = {name: pack(weight) for name, weight in value.state_dict().items()}
            return {MARK: "model", "cfg": pack(value.cfg), "state": state}
    return {MARK: "other", "of": type(value).__name__}


def unpack(packed: Any) -> Any:
    """The value again. Raises Garbled for what `pack` never makes."""
    try:
        return _unpack(packed)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, RecursionError) as error:
        raise Garbled(f"{type(error).__name__}: {error}") from error


def _unpack(packed: Any) -> Any:
    if isinstance(packed, list):
        return [_unpack(each) for each in packed]
    if not isinstance(packed, dict):
        return packed
    kind = packed[MARK]
    match kind:
        case "complex":
            return complex(*packed["of"])
        case "tuple":
            return tuple(_unpack(each) for each in packed["of"])
        case "dict":
            return {_unpack(key): _unpack(each) for key, each in packed["of"]}
        case "array":
            return _unpack(packed["of"]).numpy()
        case "tensor":
            raw = bytearray(base64.b64decode(packed["raw"], validate=True))
            flat = (
                torch.frombuffer(raw, dtype=TYPES[packed["type"]])
                if raw
                else torch.empty(0, dtype=TYPES[packed["type"]])
            )
            return flat.reshape(packed["shape"])
        case "factored":
            return FactoredMatrix(*map(_unpack, packed["of"]))
        case "ModelConfig" | "TransformerConfig":
            return CONFIGS[kind](**packed["of"])
        case "model":
            cfg = _unpack(packed["cfg"])
            with torch.device("meta"):
                model = class_of(cfg)(cfg)
            state = {name: _unpack(weight) for name, weight in packed["state"].items()}
            if {name: weight.shape for name, weight in model.state_dict().items()} != {
                name: weight.shape for name, weight in state.items()
            }:
                raise ValueError("the weights are not those of the configuration")
            model.load_state_dict(state, assign=True)
            return model.requires_grad_(False)
        case "other":
            return Opaque(str(packed["of"])[:60])
    raise ValueError(f"{kind!r} is no kind")


def copy_back(mine: Any, theirs: Any) -> None:
    """Tensors among the arguments as the answer left them: some checkers look whether it changed what it was given."""
    match mine:
        case torch.Tensor() if isinstance(theirs, torch.Tensor):
            if mine.shape == theirs.shape and mine.dtype == theirs.dtype and not torch.equal(mine, theirs):
                mine.detach().copy_(theirs)
        case np.ndarray() if isinstance(theirs, np.ndarray) and mine.shape == theirs.shape:
            np.copyto(mine, theirs)
        case list() | tuple() if isinstance(theirs, list | tuple):
            for one, other in zip(mine, theirs, strict=False):
                copy_back(one, other)
            if isinstance(mine, list) and isinstance(theirs, list) and len(mine) != len(theirs):
                mine[:] = theirs
        case AttentionOnlyTransformer() if isinstance(theirs, AttentionOnlyTransformer):
            other = theirs.state_dict()
            for name, weight in mine.state_dict().items():
                copy_back(weight, other.get(name))


def send(pipe: BinaryIO, message: Any) -> None:
    raw = json.dumps(message).encode()
    pipe.write(len(raw).to_bytes(8, "big") + raw)
    pipe.flush()


def receive(pipe: BinaryIO) -> Any:
    """The next frame. Raises EOFError at the end, Garbled for what is none."""
    length = int.from_bytes(_exactly(pipe, 8), "big")
    if length > LONGEST:
        raise Garbled(f"a frame of {length} bytes, more than {LONGEST}")
    try:
        return json.loads(_exactly(pipe, length))
    except (ValueError, RecursionError) as error:
        raise Garbled(str(error)) from error


def _exactly(pipe: BinaryIO, length: int) -> bytes:
    raw = pipe.read(length)
    if len(raw) < length:
        raise EOFError
    return raw
