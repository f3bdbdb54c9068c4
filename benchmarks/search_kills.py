"""Is a finished trial ever lost? One search, killed ten times at random moments.

The search is of many short trials (a linear head on a part of the embedded sample, one epoch). It
is begun, killed with SIGKILL after a random time, resumed, and so on; at each kill the trials that
had told their result are noted. At the end all of them must be there with the same result, and none
may have been run again. A grid is used, whose order Keras Tuner itself cannot take up.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.table import print_heading, print_table, reached, say

KILLS = 10
_RATES = [round(1e-4 * 1.05**n, 8) for n in range(120)]


def main() -> None:
    """Kill, resume, compare and print the table."""
    arguments = argparse.ArgumentParser(
        prog="python -m benchmarks.search_kills", description=__doc__
    )
    arguments.add_argument("--kills", type=int, default=KILLS)
    arguments.add_argument("--tuner", default="grid", choices=["grid", "random", "bayesian"])
    arguments.add_argument("--trials", type=int, default=60)
    arguments.add_argument("--seconds", type=float, default=8.0, help="between two kills, at most")
    chosen = arguments.parse_args()
    draw = random.Random(0)
    with tempfile.TemporaryDirectory() as temporary:
        run = Path(temporary) / "run"
        folder = run / "search" / "trials"
        noted: dict[Path, int] = {}
        for kill in range(chosen.kills):
            process = _begin(run, chosen, resume=kill > 0)
            before = len(noted)
            # from when it can have ended one more trial, so that kills fall into the work
            while len(_finished(folder)) == before and process.poll() is None:
                time.sleep(0.005)
            time.sleep(draw.uniform(0, chosen.seconds))
            if process.poll() is not None:
                raise SystemExit(f"error: the search ended before kill {kill + 1}; more --trials")
            process.send_signal(signal.SIGKILL)
            process.wait()
            noted |= {path: when for path, when in _finished(folder).items() if path not in noted}
            say(f"kill {kill + 1}: {len(noted)} trials finished")
        process = _begin(run, chosen, resume=True)
        if code := process.wait():
            raise SystemExit(f"error: the resumed search ended with exit code {code}")
        after = _finished(folder)
        lost = [path for path, when in noted.items() if after.get(path) != when]
        states = [json.loads(path.read_text())["status"] for path in folder.glob("*/trial.json")]
    print_heading(f"{chosen.kills} kills of one search, {chosen.tuner}")
    print_table(
        ["Kills", "Trials", "Finished at the last kill", "Of these lost or repeated",
         "Finished in the end", "Target", "Reached"],
        [[f"{chosen.kills}", f"{len(states)}", f"{len(noted)}", f"{len(lost)}",
          f"{states.count('COMPLETED')}", "0 lost",
          reached(not lost and states.count("COMPLETED") == chosen.trials)]],
    )  # fmt: skip


def _begin(run: Path, chosen: argparse.Namespace, *, resume: bool) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [
            sys.executable, "-m", "tfhub_transfer.tune", "--run", str(run),
            "--tuner", chosen.tuner, "--trials", str(chosen.trials), "--seeds", "1",
            "--search.space", json.dumps({"training.learning_rate": _RATES}),
            "--head.hidden", "[]", "--training.epochs", "1", "--data.limit", "60",
            "--encoder.offline", "--evaluation.baselines", "[]", "--evaluation.bootstrap", "10",
            "--search.compare", "false", *(["--resume"] if resume else []),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip


def _finished(folder: Path) -> dict[Path, int]:
    """Return when each result was written."""
    return {path: path.stat().st_mtime_ns for path in folder.glob("trial_*/result.json")}


if __name__ == "__main__":
    main()
