"""The process that judges one exercise of one submission: a checker here, the answer in another process.

The checker calls a function that sends its arguments to the answer's process and waits for what comes back; so nothing
that a submission defines, overwrites, prints or ends is near the checker, or near the verdict.
"""

import importlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from course_utils.checks.base import STATUSES
from course_utils.grading import confine, wire

ROOT = Path(__file__).resolve().parent.parent.parent
STARTS = 300  # seconds in which a process has to be ready; a class may be graded on a busy machine


class Stopped(BaseException):
    """The answer's process ended, or was ended. No `except Exception` of a checker takes it for a mistake."""


class ByHand(BaseException):
    """The checker hands over what does not leave its process, and watches what is done with it."""


class Missing(BaseException):
    """The submission has no such function."""


class Answer:
    """The answers of a submission to one exercise; they run in a process of its own."""

    def __init__(self, task: dict, scratch: str, confined: bool):
        command = [*(confine.UNSHARE if confined else ()), sys.executable, "-P", confine.__file__]
        given = {"PYTHONPATH": str(ROOT), "HOME": scratch, "MPLCONFIGDIR": scratch, "COURSE_PROGRESS": ""}
        given |= {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
        kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT", "LANG") if name in os.environ}
        self.task, self.why = task, ""
        self.process = subprocess.Popen(
            command + [scratch] * confined, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=kept | given, cwd=scratch,
        )  # fmt: skip

    def begin(self) -> None:
        """Wait until it is ready; from then on its time runs."""
        self._stop_after(STARTS, "it did not start")
        self._hear(self.task)
        self.clock.cancel()
        self._stop_after(self.task["seconds"], f"no answer within {self.task['seconds']} s")
        if missing := self._hear().get("missing"):
            raise Missing(f"no function {', '.join(map(str, missing))[:200]}")

    def call(self, name: str, *arguments: Any) -> Any:
        """What the function of this name returns."""
        packed = wire.pack(list(arguments))
        if other := next((each for each in packed if isinstance(each, dict) and each[wire.MARK] == "other"), None):
            raise ByHand(f"its checker hands over a {other['of']} and watches it: run this notebook yourself")
        reply = self._hear([name, packed])
        if "raised" in reply:
            words = "".join(letter if letter.isprintable() else " " for letter in str(reply.get("words"))[:500])
            name = str(reply["raised"])
            raise NotImplementedError if name == "NotImplementedError" else _named(name)(words)
        try:
            returned, theirs = wire.unpack([reply.get("returned"), reply.get("arguments")])
        except wire.Garbled as garbled:
            raise Stopped(f"what came back is no answer ({garbled})") from garbled
        wire.copy_back(list(arguments), theirs)
        return returned

    def end(self) -> None:
        """End the process and all that it started."""
        with suppress(psutil.NoSuchProcess):
            for each in [*psutil.Process(self.process.pid).children(recursive=True), self.process]:
                with suppress(psutil.NoSuchProcess):
                    each.kill()
        self.process.wait()

    def _stop_after(self, seconds: float, why: str) -> None:
        def stop() -> None:
            self.why = why
            self.end()

        self.clock = threading.Timer(seconds, stop)
        self.clock.daemon = True
        self.clock.start()

    def _hear(self, message: Any = None) -> dict:
        try:
            if message is not None:
                wire.send(self.process.stdin, message)
            reply = wire.receive(self.process.stdout)
        except (OSError, EOFError) as error:
            raise Stopped(self.why or "it ended Python") from error
        except wire.Garbled as garbled:
            raise Stopped(f"what came back is no answer ({garbled})") from garbled
        if not isinstance(reply, dict):
            raise Stopped("what came back is no answer")
        return reply


def _named(name: str) -> type[Exception]:
    return type(name[:60] if name.isidentifier() else "Error", (Exception,), {})


def checkers(chapter: str) -> dict[str, Any]:
    """A chapter's checkers by the names of their exercises: "Exercise 7.2"."""
    module = importlib.import_module(f"course_utils.checks.{chapter}")
    own = (value for value in vars(module).values() if getattr(value, "__module__", "") == module.__name__)
    return {value.exercise: value for value in own if hasattr(value, "exercise")}


def judge(task: dict) -> tuple[str, str]:
    """(verdict, message) of a submission's cells on one exercise."""
    checker = checkers(task["chapter"])[task["exercise"]]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        answer = Answer(task | {"functions": checker.answers}, scratch, not task["trust"])
        try:
            answer.begin()
            outcome = checker(*(partial(answer.call, name) for name in checker.answers))
        except Missing as missing:
            return "missing", str(missing)
        except ByHand as reason:
            return "by hand", str(reason)
        except Stopped as stopped:
            return "stopped", str(stopped)
        finally:
            answer.end()
    assert outcome.status in STATUSES
    return outcome.status, outcome.message


if __name__ == "__main__":
    print(json.dumps(judge(json.load(sys.stdin))))
