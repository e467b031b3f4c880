"""The commands: each explains itself, and a mistake is one line and an exit status."""

import os
import re
import subprocess
import sys

import pytest

from course_utils import __main__ as commands
from course_utils import checkpoints, training
from course_utils.checks import kept
from course_utils.config import ModelConfig
from course_utils.errors import CourseError
from tools import build_corpus

NAMES = ["train", "corpus", "doctor", "notebooks", "progress", "workshop", "results", "grade"]


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit) as caught:
        commands.main(["--help"])
    assert caught.value.code == 0
    said = capsys.readouterr().out
    assert re.search(r"\{(.*?)\}", said)[1].split(",") == NAMES
    assert all(re.search(rf"^    {name} +\w", said, re.M) for name in NAMES)  # each with a word on what it does


@pytest.mark.parametrize("name", NAMES)
def test_every_command_has_help(name, capsys):
    with pytest.raises(SystemExit) as caught:
        commands.main([name, "--help"])
    assert caught.value.code == 0
    assert f"course_utils {name}" in capsys.readouterr().out


def test_the_help_of_train_names_its_options(capsys):
    with pytest.raises(SystemExit):
        commands.main(["train", "--help"])
    said = capsys.readouterr().out
    options = [
        "zero-layer",
        "one-layer",
        "two-layer",
        "--out",
        "--resume",
        "--text",
        "--steps",
        "--batch",
        "--lr",
        "--seed",
    ]
    assert all(option in said for option in options)


def test_the_package_is_a_program(root):
    done = subprocess.run(
        [sys.executable, "-m", "course_utils", "train", "--help"], cwd=root, capture_output=True, text=True
    )
    assert done.returncode == 0 and "--resume" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [[], ["dance"], ["train"], ["train", "three-layer"], ["train", "one-layer", "--steps", "many"], ["doctor", "--x"]],
    ids=" ".join,
)
def test_words_that_are_no_command_are_refused(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        commands.main(arguments)
    assert caught.value.code == 2 and "usage" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "one-layer", "--steps", "0"], ["steps is 0"]),
        (["train", "two-layer", "--batch", "-4"], ["batch is -4"]),
        (["train", "two-layer", "--lr", "nan"], ["lr is nan"]),
        (["train", "zero-layer", "--seed", "-1"], ["seed is -1"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_a_mistake_is_told_in_one_line_without_a_traceback(arguments, words, capsys, tmp_path):
    assert commands.main([*arguments, "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert said.startswith("Error: ") and said.count("\n") == 1 and "Remedy:" in said
    assert all(word in said for word in words)
    assert not (tmp_path / "out").exists()


@pytest.fixture
def asked(monkeypatch):
    """What training is asked to do, without doing it."""
    calls = []
    monkeypatch.setattr(training, "train", lambda *args, **named: calls.append((args, named)))
    monkeypatch.setattr(training, "train_zero_layer", lambda *args: calls.append((args, {})))
    return calls


def test_train_follows_the_recipe_but_for_what_is_asked(asked, tmp_path):
    assert (
        commands.main(["train", "two-layer", "--steps", "9", "--lr-adam", "0.1", "--out", str(tmp_path), "--resume"])
        == 0
    )
    ((name, model_cfg, cfg, out, resume, save_every), named), = asked  # fmt: skip
    recipe = training.RECIPES["two-layer"]
    assert (name, model_cfg, out, resume, save_every) == ("two-layer", ModelConfig(n_layers=2), tmp_path, True, 250)
    assert cfg.to_dict() == recipe[1].to_dict() | {"steps": 9, "lr_adam": 0.1}
    assert named["command"] == "python -m course_utils train two-layer --steps 9 --lr-adam 0.1"


def test_the_zero_layer_model_is_trained_on_the_bigram_table(asked, tmp_path):
    assert commands.main(["train", "zero-layer", "--out", str(tmp_path)]) == 0
    ((cfg, out, command), _), = asked  # fmt: skip
    assert (cfg, out) == (training.RECIPES["zero-layer"][1], tmp_path)
    assert command == "python -m course_utils train zero-layer"


def test_the_recipes_are_of_the_shipped_models():
    assert tuple(training.RECIPES)[:3] == checkpoints.SHIPPED
    small = [training.RECIPES[name] for name in training.RECIPES if name.startswith("small-")]
    assert len(small) == 3 and all(run == small[0][1] for _, run in small)  # compared with each other in chapter 10
    large = [training.RECIPES[name][0] for name in checkpoints.SHIPPED]
    assert [(cfg.n_layers, cfg.n_heads) for cfg in large] == [(0, 12), (1, 12), (2, 12)]


@pytest.mark.parametrize(
    ("raised", "status", "said"),
    [(CourseError("a", "b", "c"), 1, "Error: a: b. Remedy: c."), (KeyboardInterrupt(), 130, "\nInterrupted.")],
    ids=["an error of ours", "an interruption"],
)
def test_how_commands_end(monkeypatch, capsys, raised, status, said):
    def fail():
        raise raised

    monkeypatch.setattr(build_corpus, "build", fail)
    assert commands.main(["corpus"]) == status
    assert capsys.readouterr().err == f"{said}\n"


@pytest.mark.parametrize(("name", "resumes"), [("two-layer", True), ("zero-layer", False)])
def test_an_interrupted_run_is_told_how_to_go_on_if_it_can(monkeypatch, capsys, tmp_path, name, resumes):
    def interrupt(*args, **named):
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "train", interrupt)
    monkeypatch.setattr(training, "train_zero_layer", interrupt)
    assert commands.main(["train", name, "--out", str(tmp_path)]) == 130
    assert ("--resume" in capsys.readouterr().err) == resumes


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
@pytest.mark.parametrize(
    ("arguments", "words"), [(["doctor"], r"\N{CHECK MARK} Python 3"), (["progress"], r"\N{WHITE CIRCLE}")]
)
def test_what_is_printed_passes_through_a_pipe_of_another_alphabet(root, tmp_path, encoding, arguments, words):
    (tmp_path / "progress.json").write_text('{"passed": {}}')
    environment = os.environ | {"PYTHONIOENCODING": encoding, kept.VARIABLE: str(tmp_path / "progress.json")}
    command = [sys.executable, "-m", "course_utils", *arguments]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True)
    said, errors = done.stdout.decode(encoding), done.stderr.decode(encoding)
    assert words in said and "Traceback" not in errors, errors


@pytest.mark.parametrize("name", ["corpus", "notebooks", "progress", "workshop", "results"])
def test_without_a_checkout_what_publishes_the_book_says_what_is_needed(name, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(commands, "ROOT", tmp_path)
    assert commands.main([name]) == 1
    assert "a checkout of the repository" in capsys.readouterr().err


def test_an_error_that_is_not_ours_is_not_hidden(monkeypatch):
    def fail():
        raise ZeroDivisionError

    monkeypatch.setattr(build_corpus, "build", fail)
    with pytest.raises(ZeroDivisionError):
        commands.main(["corpus"])
