"""A training run of seconds in processes that are killed, or that meet a bad disk: see unit/test_interruptions.py.

python killed_training.py kill OUT TEXT.npy KILLS SEED     # the run, killed so often, then left to finish
python killed_training.py once OUT TEXT.npy                # the run, not disturbed

It imports torch once and forks: a kill then costs the run alone, not the seconds that an import takes.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np
import torch
from small_training import MODEL, settings

from course_utils import corpus
from course_utils.errors import CourseError
from course_utils.training import train

STEPS, SAVE_EVERY = 60, 3


def run(out: Path) -> None:
    train("small", MODEL, settings(STEPS, eval_every=20), out, resume=True, save_every=SAVE_EVERY)


def in_a_process(out: Path) -> int:
    """Begin the run, or go on with it, in a process of its own; return its id."""
    process = os.fork()
    if process == 0:
        status = 1
        try:
            run(out)
            status = 0
        except CourseError as error:
            print(f"Error: {error}", file=sys.stderr)
        finally:
            sys.stderr.flush()
            os._exit(status)
    return process


def kill_again_and_again(out: Path, kills: int, seed: int) -> None:
    rng = random.Random(seed)
    began = time.perf_counter()
    os.waitpid(in_a_process(out.with_name("to time it")), 0)
    whole, killed, tries = time.perf_counter() - began, 0, 0
    while killed < kills and tries < 10 * kills:
        tries += 1
        process = in_a_process(out)
        # Moments over the whole run: while it starts, in and between its steps, while it saves.
        time.sleep(rng.uniform(0, whole / 4))
        os.kill(process, signal.SIGKILL)
        killed += os.WIFSIGNALED(os.waitpid(process, 0)[1])
        left = sorted(path.name for path in out.glob("*")) if out.exists() else []
        print(f"killed {killed}: {left}")
    os.waitpid(in_a_process(out), 0)


if __name__ == "__main__":
    what, out, text, *numbers = sys.argv[1:]
    torch.set_num_threads(1)
    ids = torch.from_numpy(np.load(text))
    corpus.load_text = lambda split, d_vocab=4096, full=False: ids
    if what == "kill":
        kill_again_and_again(Path(out), *map(int, numbers))
    else:
        os._exit(os.waitstatus_to_exitcode(os.waitpid(in_a_process(Path(out)), 0)[1]))
