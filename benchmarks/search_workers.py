"""What is a second worker worth? Trials per minute of a head on banking77, two against one.

Chief and workers are processes of this machine, the texts are encoded before the first of them
begins, and so each trial is the training of a head. One worker is measured as it begins by itself,
with all cores for TensorFlow, and with one thread for TensorFlow; two with one thread each, without
which they take each other's cores. Trials are counted from when every worker has ended its first
one (which starts TensorFlow and compiles) to the last one that was begun beside others.

The gain is limited by what one worker already does with all cores, which the row of one worker with
one thread shows, and by what two workers, the chief and Python's own threads have to share.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.table import data_dir, print_heading, print_table, reached, say

TRIALS = 24
TARGET = 1.6
_ONE_THREAD = {
    "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"
}  # fmt: skip
# Of one size, so that rates of different trials can be compared.
_SPACE = {"head.dropout": {"min": 0.0, "max": 0.5}}


def main() -> None:
    """Measure all three and print the table."""
    arguments = argparse.ArgumentParser(
        prog="python -m benchmarks.search_workers", description=__doc__
    )
    arguments.add_argument("--encoder", default="minilm-l6")
    arguments.add_argument("--trials", type=int, default=TRIALS)
    arguments.add_argument("--epochs", type=int, default=20)
    arguments.add_argument("--limit", type=int, help="rows of each split at most, to try it out")
    chosen = arguments.parse_args()
    if chosen.trials < 4:
        raise SystemExit(f"error: --trials must be at least 4. Received: {chosen.trials}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        say("encoding the texts, by a search of one trial")
        _finish(_begin(folder / "warm", chosen, ["--trials", "1"]))
        alone = _rate(folder / "alone", chosen, 1, {})
        thread = _rate(folder / "thread", chosen, 1, _ONE_THREAD)
        two = _rate(folder / "two", chosen, 2, _ONE_THREAD)
    best = max(alone, thread)
    print_heading(
        f"Trials per minute of a head on banking77, {chosen.encoder}, texts encoded before; "
        f"{chosen.trials} trials of {chosen.epochs} epochs"
    )
    print_table(
        ["Workers", "TensorFlow's threads", "Trials per minute", "Against the faster single one"],
        [
            ["1", "all", f"{alone:.1f}", f"{alone / best:.2f}"],
            ["1", "1", f"{thread:.1f}", f"{thread / best:.2f}"],
            ["2", "1 each", f"{two:.1f}", f"{two / best:.2f}"],
        ],
    )
    print_table(
        ["Target", "Reached"], [[f">= {TARGET:g}", reached(two / best >= TARGET)]]
    )
    print(
        f"With all cores a single worker does {alone / thread:.2f} times the trials that it does "
        f"with one thread; what is over 1 is a part of the second worker's gain. Two workers reach "
        f"{two / (2 * thread):.0%} of twice what one does with one thread; what is missing there "
        f"goes to cores, caches and memory that they share with each other and with the chief, "
        f"which are not told apart here."
    )


def _rate(run: Path, chosen: argparse.Namespace, workers: int, threads: Mapping[str, str]) -> float:
    """Return the trials per minute of a search."""
    say(f"{workers} worker{'s' if workers > 1 else ''}, TensorFlow's threads: "
        f"{'1' if threads else 'all'}")  # fmt: skip
    oracle = ["--oracle", f"127.0.0.1:{_free_port()}", "--trials", str(chosen.trials)]
    chief = _begin(run, chosen, ["--distributed", "chief", *oracle])
    started = [
        _begin(run, chosen, ["--distributed", "worker", *oracle], threads) for _ in range(workers)
    ]
    results = run / "search" / "trials"
    try:
        for worker in started:
            _finish(worker)
    finally:
        for process in (chief, *started):
            process.kill()  # the chief would go on with retraining
            process.wait()
    ended = [_ended(path) for path in results.glob("trial_*/result.json")]
    ended.sort()
    if len(ended) != chosen.trials:
        raise SystemExit(f"error: {len(ended)} of {chosen.trials} trials have ended")
    # the first trial of each is left out; so is the last, of which one worker may be at alone
    first, last = workers - 1, len(ended) - workers
    return 60 * (last - first) / (ended[last] - ended[first])


def _ended(result: Path) -> float:
    if error := json.loads(result.read_text(encoding="utf-8"))["error"]:
        raise SystemExit(f"error: a trial failed: {error}")
    return result.stat().st_mtime


def _begin(
    run: Path,
    chosen: argparse.Namespace,
    flags: list[str],
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[Any]:
    command = [
        sys.executable, "-m", "tfhub_transfer.tune", "--run", str(run), "--tuner", "random",
        "--search.space", json.dumps(_SPACE), "--seeds", "1", "--search.compare", "false",
        "--encoder.name", chosen.encoder, "--encoder.offline", "--evaluation.baselines", "[]",
        "--training.epochs", str(chosen.epochs), "--training.patience", str(chosen.epochs),
        "--data.source", str(data_dir() / "text" / "banking77"), "--data.label_column", "category",
        *(["--data.limit", str(chosen.limit)] if chosen.limit else []), *flags,
    ]  # fmt: skip
    return subprocess.Popen(
        command,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _finish(process: subprocess.Popen[Any]) -> None:
    begun = time.monotonic()
    if code := process.wait():
        raise SystemExit(
            f"error: {' '.join(map(str, process.args[1:5]))} ended with exit code {code} after "
            f"{time.monotonic() - begun:.0f} s"
        )


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


if __name__ == "__main__":
    main()
