"""What the doctor can say before anything is installed: it needs the standard library and nothing else."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
OLDEST, NEWEST = (3, 11), (3, 14)
MEMORY_GB, DISK_GB = 4.0, 3.0  # of the machine, and to install into
# Modules that the course imports, as they are named where they are installed from.
NEEDED = {
    "torch": "torch", "numpy": "numpy", "scipy": "scipy", "matplotlib": "matplotlib", "ipywidgets": "ipywidgets",
    "anywidget": "anywidget", "tokenizers": "tokenizers", "safetensors": "safetensors", "gguf": "gguf", "tqdm": "tqdm",
    "jaxtyping": "jaxtyping", "nbformat": "nbformat", "yaml": "pyyaml", "psutil": "psutil", "packaging": "packaging",
}  # fmt: skip


class Finding(NamedTuple):
    good: bool
    says: str
    remedy: str = ""


def missing() -> list[str]:
    """What the course imports and this Python lacks."""
    return [name for module, name in NEEDED.items() if importlib.util.find_spec(module) is None]


def look() -> list[Finding]:
    """Python, its size, what is missing; memory and disk, for whoever is about to install."""
    fits = OLDEST <= sys.version_info[:2] <= NEWEST
    python = "install Python 3.11, 3.12, 3.13 or 3.14 from python.org, or name one that you have"
    found = [Finding(fits, f"Python {platform.python_version()}", python)]
    bits = 64 if sys.maxsize > 2**32 else 32
    found.append(Finding(bits == 64, f"Python of {bits} bits", "install the 64-bit Python: PyTorch has no other build"))
    lacking = missing()
    says = f"Not installed: {', '.join(lacking)}" if lacking else "All packages are there"
    pip = f"run `{sys.executable} -m pip install -r {_requirements()}`"
    ready = all(finding.good for finding in found)  # this Python is the one to install into
    found.append(Finding(not lacking, says, pip if ready else "install them with the Python that you choose"))
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
        remedy = "a chapter takes up to 1.6 GB, beside the browser: read the site, or use another machine"
        found.append(Finding(memory >= MEMORY_GB, f"{memory:.1f} GB of memory", remedy))
    disk = shutil.disk_usage(sys.prefix).free / 1e9
    remedy = f"free some: the packages take about {DISK_GB:.0f} GB"
    found.append(Finding(disk >= DISK_GB or not lacking, f"{disk:.1f} GB of free disk", remedy))
    return found


def stops(found: list[Finding]) -> bool:
    """Whether the doctor can't go on: what it examines next needs what is missing."""
    return not all(finding.good for finding in found[:3])


def tell(found: list[Finding]) -> bool:
    """Print every finding with what to do about it; true if all is good."""
    for finding in found:
        print(("✓ " if finding.good else "✗ ") + finding.says)
        if not finding.good:
            print(f"  → {finding.remedy}")
    good = all(finding.good for finding in found)
    print("\nThis machine can run the course." if good else "\nMend what is marked ✗, then run this again.")
    return good


def _requirements() -> str:
    """The file of exact versions: of a checkout, or the one that came beside the wheel."""
    there = ROOT / "requirements.txt"
    name = str(there) if there.exists() else "requirements.txt"
    return f'"{name}"' if re.search(r"\s", name) else name
