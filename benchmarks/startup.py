"""How long does a user wait: for the demo after installation, for help, for a wrong flag's error?

Every command with flags is asked for help and given a flag that does not exist. The demo starts
with empty caches each time, as after an installation. That TensorFlow stays out of help and errors
is seen in the interpreter's own list of imports (`-X importtime`), in a run that is not timed.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.table import ROOT, print_heading, print_table, reached, say, without_folders

DEMO_TARGET_SECONDS = 90.0
ANSWER_TARGET_SECONDS = 1.0

_WRONG_FLAG_CODE = 2
_IMPORTED = re.compile(r"^import time:.*\|\s+tensorflow$", re.MULTILINE)


def main() -> None:
    """Measure and print the table."""
    arguments = argparse.ArgumentParser(prog="python -m benchmarks.startup", description=__doc__)
    arguments.add_argument("--repeats", type=int, default=5, help="of each command")
    arguments.add_argument("--demo", default="make demo", help="the demo's command")
    arguments.add_argument("--without-demo", action="store_true", help="leave the demo out")
    chosen = arguments.parse_args()
    rows = []
    for module in commands():
        for flag, code in (("--help", 0), ("--no_such_flag", _WRONG_FLAG_CODE)):
            say(f"{module} {flag}")
            rows.append(_answer_row(module, flag, code, chosen.repeats))
    demo = chosen.demo
    if chosen.without_demo:
        rows.append(
            [f"`{without_folders(demo)}`", "not measured", "", f"< {DEMO_TARGET_SECONDS:g}", "", ""]
        )
    else:
        rows.append(_demo_row(demo, chosen.repeats))
    print_heading("Waiting for the first answer")
    columns = ["Command", "Median, s", "Range, s", "Target, s", "TensorFlow imported", "Reached"]
    print_table(columns, rows)
    print(
        f"Wall time of {chosen.repeats} runs of each. Before those of `--help` and of the wrong "
        f"flag, one more is looked through for imports, and warms the disk's cache. Each demo "
        f"begins with empty TFHUB_CACHE_DIR and TFHUB_TRANSFER_CACHE_DIR."
    )


def commands() -> list[str]:
    """Return the modules that a user runs: those at the top of the package with a `main`."""
    package = ROOT / "tfhub_transfer"
    found = [
        f"tfhub_transfer.{file.stem}"
        for file in sorted(package.glob("*.py"))
        if "\ndef main(" in file.read_text(encoding="utf-8")
    ]
    found += [
        f"tfhub_transfer.{file.parent.name}" for file in sorted(package.glob("*/__main__.py"))
    ]
    if "tfhub_transfer.train" not in found:
        raise SystemExit(f"error: no command `train` in the package. Found: {', '.join(found)}")
    return found


def _answer_row(module: str, flag: str, code: int, repeats: int) -> list[str]:
    command = [sys.executable, "-m", module, flag]
    imports = _run([sys.executable, "-X", "importtime", *command[1:]], code)
    if "import time:" not in imports:
        raise SystemExit("error: the interpreter gave no list of imports.")
    imported = bool(_IMPORTED.search(imports))
    times = [_seconds(command, code) for _ in range(repeats)]
    good = statistics.median(times) < ANSWER_TARGET_SECONDS and not imported
    return _row(
        f"python -m {module} {flag}",
        times,
        ANSWER_TARGET_SECONDS,
        "**yes**" if imported else "no",
        good,
    )


def _demo_row(demo: str, repeats: int) -> list[str]:
    times = []
    for _ in range(repeats):
        say(demo)
        with tempfile.TemporaryDirectory() as temporary:
            caches = {
                name: str(Path(temporary) / name.lower())
                for name in ("TFHUB_CACHE_DIR", "TFHUB_TRANSFER_CACHE_DIR")
            }
            times.append(_seconds(shlex.split(demo), 0, caches))
    good = statistics.median(times) < DEMO_TARGET_SECONDS
    return _row(without_folders(demo), times, DEMO_TARGET_SECONDS, "yes, it trains", good)


def _row(
    command: str, times: Sequence[float], target: float, imported: str, good: bool
) -> list[str]:
    return [
        f"`{command}`",
        f"{statistics.median(times):.2f}",
        f"{min(times):.2f} to {max(times):.2f}",
        f"< {target:g}",
        imported,
        reached(good),
    ]


def _seconds(command: Sequence[str], code: int, variables: dict[str, str] | None = None) -> float:
    began = time.perf_counter()
    _run(command, code, variables)
    return time.perf_counter() - began


def _run(command: Sequence[str], code: int, variables: dict[str, str] | None = None) -> str:
    """Run a command and return its standard error.

    Raises:
        SystemExit: it ended with another exit code than `code`.
    """
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            check=False,
            env={**os.environ, **(variables or {})},
            capture_output=True,
            text=True,
        )
    except FileNotFoundError as error:
        raise SystemExit(f"error: no such program. Received: {shlex.join(command)}") from error
    if done.returncode != code:
        raise SystemExit(
            f"error: exit code {code} was expected of `{shlex.join(command)}`. Received: "
            f"{done.returncode}\n{done.stderr[-2000:]}"
        )
    return done.stderr


if __name__ == "__main__":
    main()
