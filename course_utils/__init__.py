"""The helper package of the course: the model, its circuits, what heads do, and their pictures.

Its names are fetched when they are first asked for, so that the doctor can speak where PyTorch is missing.
"""

import importlib

_HOMES = {
    "AttentionOnlyTransformer": "model", "CourseError": "errors", "ModelConfig": "config", "claim": "claims",
    "load_model": "checkpoints", "load_text": "corpus", "load_tokenizer": "corpus", "pick_device": "device",
    "windows": "corpus",
}  # fmt: skip
__all__ = list(_HOMES)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
