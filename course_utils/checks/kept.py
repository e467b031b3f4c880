"""Which exercises a reader has passed: kept in a file of this machine if the reader asks for it, and nowhere else.

`python -m course_utils progress --keep` makes the file; while it exists, checkers note in it what is passed.
COURSE_PROGRESS names another file; set and empty, it says that nothing is to be kept.
"""

import datetime
import json
import os
import warnings
from pathlib import Path

from course_utils.errors import CourseError

VARIABLE = "COURSE_PROGRESS"
# The chapters' own solutions, whose names begin so, are run by everybody: they are no answers of the reader's.
SOLUTION = "solution_"


def path() -> Path | None:
    """Where progress is kept, if it is; None if nothing may be, or if this user has no home to keep it in."""
    named = os.environ.get(VARIABLE)
    try:
        if named is None:
            return Path.home() / ".course-utils-progress.json"
        return Path(named).expanduser() if named else None
    except RuntimeError:  # in a container a user may be a number only
        return None


def begin() -> Path:
    """Make the file, from which on progress is kept, unless it is there already."""
    file = path()
    if file is None:
        what = f"{VARIABLE} is empty" if os.environ.get(VARIABLE) == "" else "this user has no home folder"
        raise CourseError(what, "so nothing is kept", f"name a file in {VARIABLE}")
    if not os.path.exists(file):
        _write(file, {})
    return file


def forget() -> None:
    """Delete the file."""
    if file := path():
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            raise CourseError(f"{file}", f"it cannot be deleted ({error.strerror})", "delete it yourself") from error


def passed() -> dict[str, str]:
    """The day on which each exercise was first passed, by the exercise's name."""
    file = path()
    if file is None or not os.path.exists(file):  # nor does it for us in a home that may not be read
        return {}
    try:
        days = json.loads(file.read_text("utf-8"))["passed"]
        if not all(isinstance(word, str) for pair in days.items() for word in pair):
            raise TypeError("names and days must be words")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        remedy = "delete it, or start anew with `python -m course_utils progress --forget`"
        raise CourseError(f"{file}", f"progress cannot be read from it ({error})", remedy) from error
    return days


def note(exercise: str, answers: tuple) -> None:
    """Note that an exercise was passed, if progress is kept. A notebook goes on whatever happens."""
    file = path()
    if file is None or not os.path.exists(file):
        return
    if any(getattr(answer, "__name__", "").startswith(SOLUTION) for answer in answers):
        return
    try:
        days = passed()
        if exercise not in days:
            _write(file, days | {exercise: f"{datetime.date.today():%Y-%m-%d}"})
    except (OSError, CourseError) as error:
        warnings.warn(f"{exercise} is passed, but could not be noted: {error}", stacklevel=3)


def _write(file: Path, days: dict[str, str]) -> None:
    """Whole or not at all: what is written lies beside the file until it is complete."""
    try:
        partial = file.with_name(file.name + ".partial")
        partial.write_text(json.dumps({"passed": days}, indent=1, ensure_ascii=False) + "\n", "utf-8")
        os.replace(partial, file)
    except OSError as error:
        remedy = f"name a file that can be written in {VARIABLE}"
        raise CourseError(f"{file}", f"it cannot be written ({error.strerror})", remedy) from error
