"""Weights on disk: safetensors with a card beside them that holds sizes, hash and their history. Never pickles."""

import hashlib
import json
import os
import tempfile
import zipfile
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load as _load_tensors
from safetensors.torch import save as _save_tensors
from torch import Tensor

from course_utils import smollm2
from course_utils.checked import Made, Rule, checked
from course_utils.config import AnyModel, ModelConfig, TransformerConfig
from course_utils.device import pick_device
from course_utils.errors import CourseError
from course_utils.model import AttentionOnlyTransformer
from course_utils.transformer import class_of

WEIGHTS = Path(__file__).parent / "weights"
SHIPPED = ("zero-layer", "one-layer", "two-layer")
UNSEEN = ("unseen-a", "unseen-b", "unseen-c")  # nobody says what their heads do: tools/unseen.py
LIVE = {put_back: f"live-{put_back}" for put_back in ("norm", "biases", "mlp", "stream", "all")}  # chapter 11's
Folder = File = Annotated[Path, Made(Path), "pass a path"]
Name = Annotated[
    str,
    Rule(lambda name, sizes: name and name == Path(name).name, lambda sizes: "that can name a file"),
    "pass e.g. 'mine'",
]


@checked
def load_model(
    name: Annotated[str, "load_model('two-layer')"], device: str | None = None, folder: Folder = WEIGHTS
) -> AttentionOnlyTransformer:
    """A trained model, float32, in eval mode, on the device that `pick_device` gives; or "smollm2-135m" (chapter 12).

    Raises CourseError for an unknown name, and for weights that are missing, truncated, of another shape than their
    card says, or of another hash.
    """
    if name == smollm2.NAME:
        return smollm2.load(device)
    there = sorted(path.stem for path in folder.glob("*.json"))
    if name not in there:
        there.append(smollm2.NAME)
        raise CourseError(f"model {name!r}", f"the models here are {there}", f"load_model({SHIPPED[-1]!r})")
    card = load_card(name, folder)
    cfg = (TransformerConfig if "norm" in card["config"] else ModelConfig)(**card["config"])
    state = read_tensors(folder / f"{name}.safetensors", card["sha256"])
    with torch.device("meta"):
        model = class_of(cfg)(cfg)
    want = {key: list(value.shape) for key, value in model.state_dict().items()}
    have = {key: list(value.shape) for key, value in state.items()}
    if want != have:
        wrong = next(key for key in {**want, **have} if want.get(key) != have.get(key))
        raise CourseError(
            f"{name}: {wrong} has shape {have.get(wrong)}",
            f"its card says {want.get(wrong)}",
            "fetch or train it again",
        )
    model.load_state_dict({key: value.float() for key, value in state.items()}, assign=True)
    return model.requires_grad_(False).eval().to(pick_device(device))


@checked
def load_card(name: str, folder: Folder = WEIGHTS) -> dict:
    """The card of a model: config, command, tokens, seconds, machine, losses, sha256."""
    path = folder / f"{name}.json"
    try:
        card = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise CourseError(path.name, f"it can't be read ({error.strerror})", "name one of load_model's") from error
    except ValueError as error:
        raise CourseError(path.name, f"it is not a whole card ({error})", "fetch or train the model again") from error
    again = "fetch or train the model again"
    missing = {"config", "sha256"} - set(card if isinstance(card, dict) else {})
    if missing:
        raise CourseError(path.name, f"this card lacks {sorted(missing)}", again)
    if not isinstance(card["config"], dict):
        raise CourseError(path.name, f"the config on this card is {card['config']!r:.40}, no table of settings", again)
    unknown = set(card["config"]) - {field.name for field in fields(TransformerConfig)}
    if unknown:
        rule = f"this card has settings that this version doesn't know, {sorted(unknown)}"
        raise CourseError(path.name, rule, "fetch the version of the course that the model was trained with")
    return card


@checked
def load_log(name: str, folder: Folder = WEIGHTS) -> dict[str, np.ndarray]:
    """What a training run recorded as it went, by the names of `formation.Log`, and `tokens_per_step`."""
    path = folder / f"{name}.log.npz"
    if not path.exists():
        there = sorted(path.name.removesuffix(".log.npz") for path in folder.glob("*.log.npz"))
        raise CourseError(f"the log of {name!r}", f"the logs here are {there}", "load_log('two-layer')")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise CourseError(path.name, f"it is damaged ({error})", "fetch it or train the model again") from error


@checked
def save_model(model: AnyModel, name: Name, card: dict, folder: Folder = WEIGHTS) -> Path:
    """Write 16-bit weights and their card, both or neither; the card gets the configuration and the hash."""
    path = folder / f"{name}.safetensors"
    raw = _save_tensors({key: value.detach().cpu().half().contiguous() for key, value in model.state_dict().items()})
    card = {"config": model.cfg.to_dict(), "sha256": hashlib.sha256(raw).hexdigest(), **card}
    try:
        text = json.dumps(card, indent=1) + "\n"
    except TypeError as error:
        raise CourseError(
            f"the card of {name}", f"it can't be written as JSON ({error})", "keep plain values"
        ) from error
    write_together({path: raw, path.with_suffix(".json"): text.encode()})
    return path


@checked
def read_tensors(path: File, sha256: str | None = None) -> dict[str, Tensor]:
    """Tensors of a safetensors file; with `sha256`, only if the file has that hash."""
    if not path.exists():
        raise CourseError(
            f"{path.name}", "this file of weights is missing", "fetch the repository again, or train the model"
        )
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise CourseError(f"{path}", f"it can't be read ({error.strerror})", "look at its permissions") from error
    if sha256 and hashlib.sha256(raw).hexdigest() != sha256:
        raise CourseError(
            f"{path.name}", "its SHA-256 is not the recorded one", "it is damaged or changed: fetch it again"
        )
    try:
        return _load_tensors(raw)
    except (SafetensorError, ValueError) as error:
        raise CourseError(
            f"{path.name}", f"it is not a whole safetensors file ({error})", "fetch or train it again"
        ) from error


@checked
def read_about(path: File) -> dict:
    """What `write_tensors` was given as metadata under "about"."""
    try:
        with safe_open(path, "pt") as file:
            return json.loads(file.metadata()["about"])
    except (SafetensorError, OSError, TypeError, KeyError, ValueError) as error:
        rule = "it is not a file of this kind: it doesn't say what it holds"
        raise CourseError(f"{path.name}", rule, "name another file, or delete it to begin again") from error


@checked
def write_tensors(path: File, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> str:
    """Write tensors atomically and return the file's SHA-256."""
    try:
        raw = _save_tensors(tensors, metadata)
    except (ValueError, TypeError, RuntimeError) as error:
        rule = "they must be contiguous tensors that share no memory, and metadata must be text"
        raise CourseError(f"tensors for {path.name}", rule, "see the error above") from error
    write_atomically(path, raw)
    return hashlib.sha256(raw).hexdigest()


@checked
def write_atomically(path: File, raw: Annotated[bytes, "encode text with .encode('utf-8')"]) -> None:
    """Write a whole file or nothing: the old one stays until the new one is safely on disk.

    Raises CourseError when the folder is read-only or the disk is full.
    """
    write_together({path: raw})


def write_together(files: dict[Path, bytes]) -> None:
    """`write_atomically` for files that belong together: none is replaced before all are safely on disk."""
    partial = {path: path.with_name(path.name + ".partial") for path in files}
    path = next(iter(files))
    try:
        for path, raw in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(partial[path], "wb") as file:
                file.write(raw)
                file.flush()
                os.fsync(file.fileno())
        for path in files:
            os.replace(partial[path], path)
    except OSError as error:
        for left in partial.values():
            with suppress(OSError):  # nothing may be there to take away
                left.unlink()
        remedy = "free some space or choose another folder; the last good file is untouched"
        raise CourseError(f"{path}", f"it can't be written ({error.strerror})", remedy) from error


@checked
def check_writable(folder: Folder) -> None:
    """Raise CourseError unless files can be written into `folder`: sooner than after an hour of training."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"can this be written?")
    except OSError as error:
        raise CourseError(f"{folder}", f"it can't be written ({error.strerror})", "choose another folder") from error
