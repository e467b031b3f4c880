"""The largest entries of a head's full tables at the paper's scale, on a laptop.

    python benchmarks/tables.py      # 12 heads of 64, width 768, vocabulary 50 257; on CUDA if there is a GPU
    python benchmarks/tables.py --heads 2 --no-file

Random weights (the arithmetic doesn't care). For each head: the 10 largest entries of each row of its full OV and QK
tables, the 1 000 largest of each table, and the 10 largest skip-trigrams of each source; nothing of vocabulary ×
vocabulary is held. Timed beside the block products alone, in the block size that suits them best, which no method can
do without. The two take turns, head by head, so that a busy moment of the machine hits both.
"""

import argparse
import datetime
import resource
import shlex
import sys
import time
from pathlib import Path

import torch
from tqdm.auto import tqdm

from course_utils.device import choose_device
from course_utils.factored import BLOCK, CHUNK, FactoredMatrix
from course_utils.skip_trigrams import pair
from course_utils.training import machine

ROWS = (256, 512, 1024)  # block sizes tried for the products alone


def tables(vocabulary: int, d_model: int, d_head: int, head: int, device) -> tuple[FactoredMatrix, FactoredMatrix]:
    """A head's QKᵀ [source, destination] and OV [source, out] circuits, with Gaussian weights."""
    generator = torch.Generator().manual_seed(head)
    draw = lambda *shape: torch.randn(shape, generator=generator).to(device) / shape[-1] ** 0.5  # noqa: E731
    W_E, W_U = draw(vocabulary, d_model), draw(vocabulary, d_model).T
    W_Q, W_K, W_V = (draw(d_model, d_head) for _ in range(3))
    return FactoredMatrix(W_E @ W_K, (W_E @ W_Q).T), FactoredMatrix(W_E @ W_V, draw(d_head, d_model) @ W_U)


def products_alone(matrix: FactoredMatrix, out: torch.Tensor) -> None:
    """Every block of the table, each written over the one before, into memory that is there already."""
    for part in matrix.A.split(len(out)):
        torch.mm(part, matrix.B, out=out[: len(part)])


def fastest(matrix: FactoredMatrix, device) -> int:
    """The block size in which the products alone take least time."""

    def best(rows: int) -> float:
        out = matrix.A.new_zeros(rows, matrix.shape[1])
        return min(seconds(lambda: products_alone(matrix, out), device) for _ in range(3))

    return min(ROWS, key=best)


def survey(qk_t: FactoredMatrix, ov: FactoredMatrix, k: int, largest: int) -> None:
    """Everything asked of one head, from one pass over the blocks of each of its two tables."""
    looked, outs = qk_t.row_topk(k), ov.row_topk(k)
    qk_t.largest(largest, looked), ov.largest(largest, outs)
    pair(torch.arange(len(ov.A), device=ov.A.device), looked, outs, k)


def seconds(task, device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    began = time.perf_counter()
    task()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in {
        "vocabulary": 50_257,
        "d-model": 768,
        "d-head": 64,
        "heads": 12,
        "k": 10,
        "largest": 1000,
    }.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--no-file", action="store_true", help="print only")
    options = parser.parse_args()
    device, reason = choose_device()
    sizes = options.vocabulary, options.d_model, options.d_head

    rows = fastest(tables(*sizes, 0, device)[1], device)
    alone = ours = 0.0
    out = torch.zeros(rows, options.vocabulary, device=device)
    for head in tqdm(range(options.heads), desc="heads"):
        qk_t, ov = tables(*sizes, head, device)
        alone += sum(seconds(lambda m=m: products_alone(m, out), device) for m in (qk_t, ov))
        ours += seconds(lambda qk_t=qk_t, ov=ov: survey(qk_t, ov, options.k, options.largest), device)
        del qk_t, ov
    unit = 2**20 if sys.platform == "darwin" else 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    lines = [
        f"# Largest entries of full tables, {device.type}",
        "",
        f"{datetime.date.today()}, `{shlex.join(['python', 'benchmarks/tables.py', *sys.argv[1:]])}`",
        "",
        f"Machine: {machine(reason)}; {torch.get_num_threads()} threads; torch {torch.__version__}.",
        "",
        f"{options.heads} heads of {options.d_head}, width {options.d_model}, vocabulary {options.vocabulary}: "
        f"{2 * options.heads} tables. The {options.k} largest of each row, the {options.largest} largest of each "
        f"table, the {options.k} largest skip-trigrams of each source. Blocks of {BLOCK} rows, chunks of {CHUNK}.",
        "",
        "| | seconds | times the products |",
        "|---|---|---|",
        f"| block products alone (blocks of {rows} rows, the fastest of {ROWS}) | {alone:.1f} | 1 |",
        f"| everything | {ours:.1f} | {ours / alone:.2f} |",
        "",
        f"Peak memory of the process: {peak:.0f} MiB"
        + (f"; of the GPU: {torch.cuda.max_memory_allocated() / 2**20:.0f} MiB" if device.type == "cuda" else "")
        + ".",
    ]
    print("\n".join(lines))
    if not options.no_file:
        path = Path(__file__).with_name(f"results-tables-{device.type}.md")
        path.write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
