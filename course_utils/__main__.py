"""The course's commands: python -m course_utils COMMAND --help."""

from __future__ import annotations

import argparse
import importlib
import sys
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from course_utils import machine
from course_utils.errors import CourseError

ROOT = Path(__file__).resolve().parent.parent


def main(arguments: list[str] | None = None) -> int:
    given = sys.argv[1:] if arguments is None else arguments
    if machine.stops(found := machine.look()):  # what is below needs what is missing
        with redirect_stdout(sys.stdout if given[:1] == ["doctor"] else sys.stderr):
            machine.tell(found)
        return 1
    parser = argparse.ArgumentParser(prog="python -m course_utils", description="Commands of the course.")
    commands = parser.add_subparsers(dest="command", required=True)
    _train_options(commands.add_parser("train", help="train one of the models"))
    commands.add_parser("corpus", help="build text, tokenizers and counts from the pinned archives (needs the network)")
    commands.add_parser("doctor", help="say whether this machine can run the course")
    form = commands.add_parser("notebooks", help="bring the chapters into the form in which they are committed")
    form.add_argument("--check", action="store_true", help="only say what is wrong")
    progress = commands.add_parser("progress", help="say which exercises you have passed, if you asked to keep that")
    progress.add_argument(
        "--keep", action="store_true", help="from now on note passed exercises in a file on this machine"
    )
    progress.add_argument("--forget", action="store_true", help="delete that file")
    workshop = commands.add_parser("workshop", help="build what a teacher hands out, from the chapters and the site")
    workshop.add_argument("--out", type=Path, default=None, metavar="FOLDER", help="in place of dist/")
    workshop.add_argument("--wheels", action="store_true", help="with all packages, for a class without a network")
    results = commands.add_parser("results", help="run the chapters and compare their numbers with book/results.json")
    results.add_argument("--update", action="store_true", help="record the new numbers in place of comparing")
    _grade_options(commands.add_parser("grade", help="judge the exercises in a folder of submitted notebooks"))
    options = parser.parse_args(arguments)
    run = {"train": _train, "corpus": _corpus, "doctor": _doctor, "notebooks": _notebooks, "results": _results}
    run |= {"progress": _progress, "workshop": _workshop, "grade": _grade}
    try:
        return run[options.command](options) or 0
    except CourseError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        resumes = options.command == "train" and options.name != "zero-layer"
        advice = " What was saved is kept; go on with --resume." if resumes else ""
        print(f"\nInterrupted.{advice}", file=sys.stderr)
        return 130


def _train_options(parser: argparse.ArgumentParser) -> None:
    from course_utils.config import RECIPES

    parser.add_argument("name", choices=list(RECIPES), help="whose recipe to follow")
    parser.add_argument("--out", type=Path, default=Path("trained"), help="folder for weights, card, log and state")
    parser.add_argument("--resume", action="store_true", help="go on where an interrupted run stopped")
    parser.add_argument("--text", choices=["full", "shipped"], help="all text that `corpus` built, or what ships")
    parser.add_argument("--save-every", type=int, default=250, metavar="STEPS", help="keep the state this often (250)")
    settings = {
        "steps": (int, "length of the run; with --resume it may be longer than before"),
        "batch": (int, "windows a step"),
        "seed": (int, "of the initial weights and of the order of the text"),
        "lr": (float, "rate of Muon, for the heads"),
        "lr-adam": (float, "rate of AdamW, for embedding, positions and unembedding"),
        "weight-decay": (float, "of Muon"),
    }
    for name, (kind, says) in settings.items():
        parser.add_argument(f"--{name}", type=kind, metavar="N", help=f"{says}, in place of the recipe's")


def _grade_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="FOLDER/LEARNER/NN_….ipynb, or FOLDER/LEARNER.ipynb")
    parser.add_argument("--csv", action="store_true", help="write a table for a spreadsheet")
    parser.add_argument("--seconds", type=float, default=60, metavar="N", help="that an answer may take (60)")
    parser.add_argument("--memory", type=float, default=4, metavar="GB", help="that an answer may take (4)")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="exercises judged at a time (2)")
    parser.add_argument(
        "--trust", action="store_true", help="also where network and files can't be taken from what learners wrote"
    )


def _train(options: argparse.Namespace) -> None:
    from course_utils import training

    model_cfg, cfg = training.RECIPES[options.name]
    wishes = {key: getattr(options, key) for key in ("text", "steps", "batch", "lr", "lr_adam", "weight_decay", "seed")}
    cfg = replace(cfg, **{key: value for key, value in wishes.items() if value is not None})
    command = "python -m course_utils train " + " ".join(
        [options.name] + [f"--{key.replace('_', '-')} {value}" for key, value in wishes.items() if value is not None]
    )
    if options.name == "zero-layer":
        training.train_zero_layer(cfg, options.out, command)
        return
    training.train(options.name, model_cfg, cfg, options.out, options.resume, options.save_every, command=command)


def _corpus(options: argparse.Namespace) -> None:
    _tool("build_corpus").build()


def _doctor(options: argparse.Namespace) -> int:
    from course_utils import doctor

    return 0 if doctor.report() else 1


def _notebooks(options: argparse.Namespace) -> int:
    return _tool("notebooks").report(options.check)


def _progress(options: argparse.Namespace) -> None:
    from course_utils.checks import exercises

    chapters = exercises.read_list() if exercises.LIST.exists() else _tool("progress").chapters()
    exercises.report(chapters, options.keep, options.forget)


def _workshop(options: argparse.Namespace) -> None:
    _tool("workshop").report(options.out, options.wheels)


def _grade(options: argparse.Namespace) -> None:
    from course_utils import grading

    rows = grading.grade(options.folder, options.seconds, options.memory, options.jobs, options.trust)
    print(grading.as_csv(rows) if options.csv else grading.as_text(rows), end="" if options.csv else "\n")


def _results(options: argparse.Namespace) -> int:
    return 0 if _tool("results").run_chapters(options.update) else 1


def _tool(name: str) -> ModuleType:
    """A module of tools/, the folder of what only publishes the book: it stands in a checkout and in no wheel."""
    if not (ROOT / "tools").is_dir():
        rule = "it works on the book's own files, which an installed package does not have"
        raise CourseError(f"{name} is a program of the folder tools/", rule, "run it in a checkout of the repository")
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    return importlib.import_module(f"tools.{name}")


if __name__ == "__main__":
    # Into a pipe or file some systems write an alphabet without ✓ and →: such characters are then written by name.
    sys.stdout.reconfigure(errors="namereplace")
    sys.exit(main())
