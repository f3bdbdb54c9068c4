"""What all measurements share: where the data is, and one table in Markdown under one heading."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("tensorflow", "tensorflow-text", "keras", "numpy", "scikit-learn")
_DATA_VARIABLE = "TFHUB_TRANSFER_TEST_DATA"
# What others do on the machine slows the peers and us by different factors: a reader must see it.
_LOAD_BEFORE = os.getloadavg()[0]


def data_dir() -> Path:
    """Return the folder of real data: `$TFHUB_TRANSFER_TEST_DATA`, or the one beside the checkout.

    Raises:
        SystemExit: there is none.
    """
    named = os.environ.get(_DATA_VARIABLE)
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        raise SystemExit(
            f"error: no real data to measure on. Set {_DATA_VARIABLE} to a folder laid out as "
            f"benchmarks/README.md says. Received: {folder}"
        )
    return folder


def say(text: str) -> None:
    """Report progress on standard error: standard output is the table's."""
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


def print_heading(title: str, packages: Mapping[str, str] | None = None) -> None:
    """Print what a reader needs to judge or to repeat a table.

    Args:
        title: of the page.
        packages: further packages and their versions, such as those of other environments.
    """
    found = installed_versions(PACKAGES) | dict(packages or {})
    versions = ", ".join(f"{name} {version}" for name, version in found.items())
    print(f"# {title}\n")
    print(f"- command: `{command_line()}`")
    print(f"- date: {time.strftime('%Y-%m-%d %H:%M %Z')}; commit {_commit()}")
    print(f"- machine: {_machine()}")
    print(f"- versions: Python {platform.python_version()}, {versions}\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a Markdown table: the first column to the left, the others to the right."""
    print(f"| {' | '.join(columns)} |")
    print(f"|{'|'.join([' --- '] + [' ---: '] * (len(columns) - 1))}|")
    for row in rows:
        print(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |")
    print(flush=True)


def reached(yes: bool) -> str:
    """Return the cell that says whether a target was reached."""
    return "yes" if yes else "**no**"


def installed_versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the version of each package that is installed in this environment."""
    found = {}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def command_line() -> str:
    """Return this process's command without the machine's own paths."""
    name = Path(sys.argv[0]).stem
    if name == "__main__":
        name = Path(sys.argv[0]).parent.name
    return shlex.join(["python", "-m", f"benchmarks.{name}", *map(without_folders, sys.argv[1:])])


def without_folders(text: str) -> str:
    """Shorten absolute paths in a text: `.../NAME`, or relative where they are in the checkout."""
    return re.sub(r"(?<![\w.:/])/[^\s'\"]*[^\s'\"/]", lambda found: _shortened(found[0]), text)


def _shortened(path: str) -> str:
    inside = Path(path).is_relative_to(ROOT)
    return str(Path(path).relative_to(ROOT)) if inside else f".../{Path(path).name}"


def _commit() -> str:
    commit = _git("rev-parse", "--short", "HEAD")
    if commit is None:
        return "unknown"
    return commit + (" with changes" if _git("status", "--porcelain", "-uno") else "")


def _git(*arguments: str) -> str | None:
    done = subprocess.run(
        ["git", "-C", str(ROOT), *arguments], check=False, capture_output=True, text=True
    )
    return None if done.returncode else done.stdout.strip()


def _machine() -> str:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{_processor()}, {cores} cores, {memory:.0f} GiB, {platform.system()} "
        f"{platform.machine()}; load average {_LOAD_BEFORE:.1f} before, "
        f"{os.getloadavg()[0]:.1f} after"
    )


def _processor() -> str:
    facts = Path("/proc/cpuinfo")
    if facts.exists():
        lines = dict(line.split(":", 1) for line in facts.read_text().splitlines() if ":" in line)
        by_name = {name.strip(): value.strip() for name, value in lines.items()}
        if "model name" in by_name:
            flags = by_name.get("flags", "").split()
            kinds = [
                kind for kind in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if kind in flags
            ]
            return f"{by_name['model name']} ({', '.join(kinds)})"
    return platform.processor() or "unknown processor"
