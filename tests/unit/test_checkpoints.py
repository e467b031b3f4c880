"""Weights on disk: what is written comes back, and what is damaged is refused in words."""

import errno
import json
import re

import pytest
import torch

from course_utils import checkpoints
from course_utils.errors import CourseError
from course_utils.formation import Log


@pytest.fixture
def model(make_model):
    return make_model(dtype=torch.float32)


@pytest.fixture
def folder(tmp_path, model):
    checkpoints.save_model(model, "small", {"command": "made by a test"}, tmp_path)
    return tmp_path


def edit_card(folder, **changes):
    path = folder / "small.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_model_comes_back_in_float32_and_eval_mode(folder, model):
    loaded = checkpoints.load_model("small", folder=folder, device="cpu")
    assert loaded.cfg == model.cfg
    assert not loaded.training and not any(p.requires_grad for p in loaded.parameters())
    for name, weight in model.named_parameters():
        assert dict(loaded.named_parameters())[name].dtype == torch.float32
        assert torch.equal(dict(loaded.named_parameters())[name], weight.half().float()), name
    tokens = torch.arange(9)[None]
    torch.testing.assert_close(loaded(tokens), model(tokens), rtol=0.02, atol=0.02)


def test_weights_are_16_bit_and_the_card_says_what_they_are(folder, model):
    card = checkpoints.load_card("small", folder)
    assert card["config"] == model.cfg.to_dict()
    assert card["command"] == "made by a test"
    tensors = checkpoints.read_tensors(folder / "small.safetensors", card["sha256"])
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    assert sorted(path.name for path in folder.iterdir()) == ["small.json", "small.safetensors"]


def test_saving_again_replaces_both_files(folder, make_model):
    other = make_model(seed=3, dtype=torch.float32, d_model=8)
    checkpoints.save_model(other, "small", {}, folder)
    assert torch.equal(checkpoints.load_model("small", folder=folder).W_E.cpu(), other.W_E.half().float())


def test_metadata_comes_back(tmp_path):
    about = {"step": 7, "words": ["é"]}
    checkpoints.write_tensors(tmp_path / "a.safetensors", {"x": torch.arange(3)}, {"about": json.dumps(about)})
    assert checkpoints.read_about(tmp_path / "a.safetensors") == about
    assert torch.equal(checkpoints.read_tensors(tmp_path / "a.safetensors")["x"], torch.arange(3))


def damage_truncate(folder):
    path = folder / "small.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def damage_one_byte(folder):
    path = folder / "small.safetensors"
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)


def damage_truncate_and_record(folder):
    damage_truncate(folder)
    edit_card(folder, sha256=checkpoints.hashlib.sha256((folder / "small.safetensors").read_bytes()).hexdigest())


def damage_text(folder):
    (folder / "small.safetensors").write_text("<!doctype html>")
    edit_card(folder, sha256=checkpoints.hashlib.sha256(b"<!doctype html>").hexdigest())


def damage_missing(folder):
    (folder / "small.safetensors").unlink()


def damage_shape(folder):
    edit_card(folder, config=checkpoints.load_card("small", folder)["config"] | {"n_heads": 4})


def damage_tensor_missing(folder):
    path = folder / "small.safetensors"
    tensors = checkpoints.read_tensors(path)
    del tensors["W_U"]
    edit_card(folder, sha256=checkpoints.write_tensors(path, tensors))


def damage_card_truncated(folder):
    path = folder / "small.json"
    path.write_text(path.read_text()[:40])


def damage_card_empty(folder):
    (folder / "small.json").write_text("{}")


def damage_card_unknown_setting(folder):
    edit_card(folder, config=checkpoints.load_card("small", folder)["config"] | {"n_experts": 8})


def damage_card_config(folder):
    edit_card(folder, config=7)


def damage_card_list(folder):
    (folder / "small.json").write_text('["config", "sha256"]')


DAMAGE = {
    damage_card_unknown_setting: ["small.json", "n_experts"],
    damage_card_config: ["small.json", "7"],
    damage_card_list: ["small.json", "lacks"],
    damage_truncate: ["small.safetensors", "SHA-256"],
    damage_one_byte: ["small.safetensors", "SHA-256"],
    damage_truncate_and_record: ["small.safetensors", "not a whole safetensors file"],
    damage_text: ["small.safetensors", "not a whole safetensors file"],
    damage_missing: ["small.safetensors", "missing"],
    damage_shape: ["W_Q", "[2, 3, 12, 4]", "[2, 4, 12, 4]"],
    damage_tensor_missing: ["W_U", "None", "[12, 17]"],
    damage_card_truncated: ["small.json"],
    damage_card_empty: ["small.json", "config"],
}


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__.removeprefix("damage_"))
def test_damage_is_told(folder, damage):
    damage(folder)
    with pytest.raises(CourseError) as caught:
        checkpoints.load_model("small", folder=folder)
    assert all(word in str(caught.value) for word in [*DAMAGE[damage], "Remedy:"]), caught.value


@pytest.mark.parametrize("name", ["three-layer", "", "two-layer.safetensors", "../weights/two-layer"])
def test_an_unknown_name_is_answered_with_those_there_are(folder, name):
    with pytest.raises(CourseError, match=r"are \['small', 'smollm2-135m'\].*Remedy:"):
        checkpoints.load_model(name, folder=folder)


def test_a_file_where_a_folder_should_be(tmp_path, model):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(CourseError, match="can't be written.*Remedy:"):
        checkpoints.save_model(model, "small", {}, tmp_path / "taken")


@pytest.mark.parametrize("where", ["fsync", "replace"])
def test_a_write_that_fails_keeps_the_old_file(folder, monkeypatch, model, where):
    """A full disk shows itself in fsync at the latest, a read-only folder in replace."""
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoints.os, where, fail)
    with pytest.raises(CourseError, match="No space left on device.*Remedy:.*last good file is untouched"):
        checkpoints.save_model(model, "small", {}, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before  # nor is a part left behind


def test_a_read_only_folder(tmp_path, monkeypatch):
    real = open

    def refuse(path, mode="r", *more, **named):
        if "w" in mode:
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path, mode, *more, **named)

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(CourseError, match="Permission denied.*Remedy:"):
        checkpoints.write_atomically(tmp_path / "a", b"x")


def test_nothing_in_the_repository_reads_or_writes_pickles(root):
    forbidden = re.compile(r"torch\.(load|save)\(|\bimport pickle|\bfrom pickle|\bjoblib\b|allow_pickle\s*=\s*True")
    sources = [*root.glob("course_utils/**/*.py"), *root.glob("benchmarks/*.py"), *root.glob("book/**/*.ipynb")]
    assert len(sources) > 10
    assert [path.name for path in sources if forbidden.search(path.read_text("utf-8"))] == []


def test_a_log_comes_back_as_arrays(tmp_path):
    log = Log(step=[0, 10], loss=[7.0, 6.5], prefix_matching=[torch.rand(2, 3)])
    log.save(tmp_path / "small.log.npz", tokens_per_step=40)
    arrays = checkpoints.load_log("small", tmp_path)
    assert arrays["tokens_per_step"] == 40 and arrays["loss"].tolist() == [7.0, 6.5]
    assert arrays["prefix_matching"].shape == (1, 2, 3)


def test_a_log_that_is_missing_or_damaged(tmp_path):
    with pytest.raises(CourseError, match="the log of 'large': the logs here are"):
        checkpoints.load_log("large", tmp_path)
    (tmp_path / "small.log.npz").write_bytes(b"PK no archive")
    with pytest.raises(CourseError, match="small.log.npz: it is damaged"):
        checkpoints.load_log("small", tmp_path)
