"""How long the induction lab takes in the reader's browser: one more token, and a full pass over 64.

    python benchmarks/lab.py

Chromium runs the lab's own modules in a page, as the lab's worker does: plain JavaScript, one thread. The
median and the fastest of some runs of the two-layer model: other programs slow all but the fastest.
"""

import argparse
import datetime
import os
import platform
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

import psutil
from playwright.sync_api import sync_playwright

from course_utils.corpus import load_text
from course_utils.figures.induction_lab import ship, tokenizer_data, worker_source

TEXT = 64  # tokens, the start token included
TIMED = """async ([tokens, count]) => {
    const told = times => [times.sort((a, b) => a - b)[Math.floor(times.length / 2)], times[0]];
    const since = async act => { const start = performance.now(); await act(); return performance.now() - start; };
    const buffer = Uint8Array.from(atob(window.weights.join('')), c => c.charCodeAt(0)).buffer;
    let model;
    const opened = await since(() => { model = new Model(buffer); });
    const run = new Run(model);
    const [pass, more, off] = [[], [], []];
    for (let i = 0; i < count + 3; i++) { // the first three warm up
        run.forward([1]); // another text: nothing of it can be kept
        const times = [
            await since(() => run.forward(tokens)),
            await since(() => run.forward([...tokens, 100 + i])),
            await since(() => run.forward([...tokens, 100 + i], { heads: [[1, 1]], paths: [] })),
        ];
        if (i >= 3) [pass, more, off].forEach((all, j) => all.push(times[j]));
    }
    Object.assign(window, { run });
    return { opened, pass: told(pass), more: told(more), off: told(off) };
}"""
CUT = """data => {
    const tokenizer = new Tokenizer(data);
    const times = Array.from({ length: 9 }, (_, i) => { // each is another piece: none is known from before
        const start = performance.now();
        tokenizer.encode("-".repeat(9000 + i));
        return performance.now() - start;
    });
    return times.sort((a, b) => a - b)[4];
}"""
PASSES = "([tokens, count]) => { for (let i = 0; i < count; i++) { run.forward([1]); run.forward(tokens); } }"


def processor_seconds() -> float:
    """What all processes of the browser have used."""
    return sum(sum(process.cpu_times()[:2]) for process in psutil.Process().children(recursive=True))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=25, help="runs of which the median is taken")
    parser.add_argument("--no-file", action="store_true", help="print only")
    options = parser.parse_args()
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
    program = os.environ.get("COURSE_BROWSER") or next(filter(None, map(shutil.which, names)), None)
    if program is None:
        sys.exit("no Chromium or Chrome was found; install one, or name it in COURSE_BROWSER")
    before = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        ship(Path(folder))
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-dev-shm-usage"])
        page = browser.new_page()
        page.evaluate("window.weights = []; window.courseLab = (name, number, text) => weights.push(text)")
        for number in range(len(list(Path(folder).glob("two-layer-*.js")))):
            page.add_script_tag(path=str(Path(folder) / f"two-layer-{number}.js"))
        page.add_script_tag(content=worker_source())
        tokens = [0, *load_text("validation")[1000 : 1000 + TEXT - 1].tolist()]
        time = page.evaluate(TIMED, [tokens, options.count])
        cut = page.evaluate(CUT, tokenizer_data())
        start = processor_seconds()
        page.evaluate(PASSES, [tokens, options.count])
        used = (processor_seconds() - start) / options.count * 1000
        version = browser.version
        browser.close()
    memory = psutil.virtual_memory().total / 2**30
    lines = [
        "# The induction lab, cpu",
        "",
        f"{datetime.date.today()}, `{shlex.join(['python', 'benchmarks/lab.py', *sys.argv[1:]])}`",
        "",
        f"Machine: {platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GiB; Chromium {version}; "
        f"plain JavaScript on one thread. Load average when it began: {before:.1f}"
        + (", more than there are cores: on a quiet machine all is faster." if before > os.cpu_count() else "."),
        "",
        f"Two-layer model, {options.count} runs; logits of all positions included.",
        "",
        "| | milliseconds, median | fastest | target |",
        "|---|---|---|---|",
        f"| one more token after {TEXT} | {time['more'][0]:.1f} | {time['more'][1]:.1f} | 20 |",
        f"| full pass over {TEXT} tokens | {time['pass'][0]:.0f} | {time['pass'][1]:.0f} | 150 (250 at worst) |",
        f"| a head of layer 1 switched off, {TEXT + 1} tokens | {time['off'][0]:.0f} | {time['off'][1]:.0f} | |",
        f"| nine thousand dashes cut into tokens | {cut:.0f} | | |",
        f"| weights from 16 to 32 bits, and laid out, once | {time['opened']:.0f} | | |",
        "",
        f"Processor time of a full pass, which other programs change less: {used:.0f} ms.",
    ]
    print("\n".join(lines))
    if not options.no_file:
        Path(__file__).with_name("results-lab-cpu.md").write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
