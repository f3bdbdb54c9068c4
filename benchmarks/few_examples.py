"""What are 8 or 16 labelled texts of each class worth? Contrastive training beside other ways.

Every cell is a draw of the training rows, by its seed, and every way is fitted on the same rows:
strategy `contrastive` with its defaults, a linear probe (logistic regression on the vectors of the
encoder as it was published), logistic regression on TF-IDF, and, on AG News at 8, setfit with its
own defaults and the same weights, in an environment of its own. All are measured on all test rows.

Each cell is kept in a file of JSON lines as soon as it is measured, so that a stopped table goes on
where it was.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import os
import statistics
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers import PEERS
from benchmarks.table import ROOT, data_dir, print_heading, print_table, reached, say
from benchmarks.training_runs import settings_used, train
from tfhub_transfer import cli
from tfhub_transfer.config import Config, DataConfig
from tfhub_transfer.data.splits import load

STATE = ROOT / "runs" / "benchmarks" / "few_examples.jsonl"
LABEL_COLUMNS = {"ag_news": "label", "trec": "label", "banking77": "category"}
SHOTS = (8, 16)
SEEDS = 5
WITH_SETFIT = ("ag_news", 8)
# setfit's training takes at least this many times ours
TIMES_FASTER = 2.0
FLAGS = (
    "--encoder.name=minilm-l6",
    "--encoder.offline=true",
    "--training.strategy=contrastive",
    '--evaluation.baselines=["tfidf_logreg", "linear_probe"]',
    "--evaluation.bootstrap=10",  # the intervals of single draws are not shown
)

Cell = dict[str, Any]


@dataclass(frozen=True)
class Draw:
    """The training rows of a cell.

    Attributes:
        data: a folder of the real data.
        shots: rows of each class.
        seed: of the draw, and of the training.
    """

    data: str
    shots: int
    seed: int

    def source(self) -> DataConfig:
        """Return the data set, drawn from in this way."""
        return DataConfig(
            source=str(data_dir() / "text" / self.data),
            label_column=LABEL_COLUMNS[self.data],
            shots=self.shots,
        )


class State:
    """The cells that are measured, by what they are of; each a line of a file."""

    def __init__(self, file: Path):
        self._file = file
        self._cells: dict[str, Cell] = {}
        if file.exists():
            whole, _, cut_short = file.read_text(encoding="utf-8").rpartition("\n")
            self._cells = dict(map(json.loads, whole.splitlines()))
            if cut_short:  # by a kill
                file.write_text(f"{whole}\n" if whole else "", encoding="utf-8")

    def get(self, *key: object) -> Cell | None:
        """Return a cell, or None if it is not measured yet."""
        return self._cells.get(json.dumps(key))

    def put(self, cell: Cell, *key: object) -> Cell:
        """Keep a cell and return it."""
        self._cells[json.dumps(key)] = cell
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps([json.dumps(key), cell]) + "\n")
        return cell


def main() -> None:
    """Measure what is missing and print the table."""
    arguments = argparse.ArgumentParser(
        prog="python -m benchmarks.few_examples", description=__doc__
    )
    arguments.add_argument(
        "data", nargs="*", metavar="DATA", help=f"{', '.join(LABEL_COLUMNS)}; default all"
    )
    arguments.add_argument("--checkpoint", type=Path, help="of all-MiniLM-L6-v2, for setfit")
    arguments.add_argument("--without-peer", action="store_true", help="leave out setfit")
    arguments.add_argument("--shots", type=int, nargs="+", default=list(SHOTS))
    arguments.add_argument("--seeds", type=int, default=SEEDS, help="draws of each row")
    arguments.add_argument("--first-seed", type=int, default=0)
    arguments.add_argument("--state", type=Path, default=STATE, help="the file of the cells")
    arguments.add_argument("--again", action="store_true", help="measure kept cells anew")
    arguments.add_argument(
        "--flag",
        action="append",
        default=[],
        metavar="FLAG=VALUE",
        help="a further flag of every run, as --flag=--contrastive.steps=10",
    )
    chosen = arguments.parse_args()
    if unknown := set(chosen.data) - set(LABEL_COLUMNS):
        arguments.error(
            f"no such data. Accepted: {', '.join(LABEL_COLUMNS)}. Received: {unknown.pop()}"
        )
    if not chosen.without_peer and chosen.checkpoint is None:
        arguments.error("setfit needs --checkpoint DIR; --without-peer leaves it out")
    python = None if chosen.without_peer else PEERS["setfit"].interpreter()
    if chosen.again:
        chosen.state.unlink(missing_ok=True)
    state = State(chosen.state)
    ours: dict[Draw, Cell] = {}
    theirs: dict[Draw, Cell] = {}
    # a draw at a time through all data sets, so that a table stopped half way has all rows
    for seed in range(chosen.first_seed, chosen.first_seed + chosen.seeds):
        for data in chosen.data or LABEL_COLUMNS:
            for shots in chosen.shots:
                draw = Draw(data, shots, seed)
                ours[draw] = _ours(state, draw, chosen.flag)
                if python and (data, shots) == WITH_SETFIT:
                    theirs[draw] = _setfit(state, draw, python, chosen.checkpoint.resolve())
    _print(ours, theirs)


def _ours(state: State, draw: Draw, further: Sequence[str]) -> Cell:
    """Return the accuracies of everything that one training run measures."""
    source = draw.source()
    flags = [
        f"--data.source={source.source}",
        f"--data.label_column={source.label_column}",
        f"--data.shots={draw.shots}",
        f"--seed={draw.seed}",
        *FLAGS,
        *further,
    ]
    # defaults included: a cell of other settings is another cell
    told = json.dumps(settings_used(cli.parse("train", "", Config, flags)), sort_keys=True)
    key = ("ours", *dataclasses.astuple(draw), hashlib.sha256(told.encode()).hexdigest())
    if kept := state.get(*key):
        return kept
    with tempfile.TemporaryDirectory() as folder:  # a run keeps some 200 MB of weights
        metrics = train(Path(folder) / "run", flags).load_metrics()
    return state.put(
        {
            "rows": sum(metrics["data_summary"]["splits"]["train"]["class_counts"].values()),
            "contrastive": metrics["test"]["accuracy"],
            "linear_probe": metrics["baselines"]["linear_probe"]["accuracy"],
            "tfidf_logreg": metrics["baselines"]["tfidf_logreg"]["accuracy"],
            "steps": metrics["contrastive"]["steps"],
            "train_s": metrics["timing"]["train_s"],
            "load": os.getloadavg()[0],
        },
        *key,
    )


def _setfit(state: State, draw: Draw, python: Path, checkpoint: Path) -> Cell:
    """Return what setfit makes of the same rows."""
    key = ("setfit", *dataclasses.astuple(draw))
    if kept := state.get(*key):
        return kept
    say(f"setfit on {draw.data} at {draw.shots}, seed {draw.seed}")
    data = load(draw.source(), seed=draw.seed)
    task = {
        "train_texts": data.train.texts(),
        "train_labels": data.train.labels.tolist(),
        "test_texts": data.test.texts(),
        "seed": draw.seed,
    }
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "task.json", Path(folder) / "answer.json"
        source.write_text(json.dumps(task), encoding="utf-8")
        command = [str(python), "-m", "benchmarks.peers.setfit_worker", str(checkpoint)]
        done = subprocess.run(
            [*command, str(source), str(target)],
            cwd=ROOT,
            check=False,
            stdout=subprocess.DEVNULL,
        )
        if done.returncode:
            raise SystemExit(f"error: setfit ended with exit code {done.returncode}")
        answer = json.loads(target.read_text(encoding="utf-8"))
    correct = np.mean(np.array(answer["predictions"]) == data.test.labels)
    return state.put(
        {
            "setfit": float(correct),
            "train_s": answer["train_s"],
            "versions": answer["versions"],
            "load": os.getloadavg()[0],
        },
        *key,
    )


def _print(ours: dict[Draw, Cell], theirs: dict[Draw, Cell]) -> None:
    packages = next((cell["versions"] for cell in theirs.values()), {})
    print_heading("Few labelled texts: accuracy on all test rows", packages)
    rows = []
    for data, shots in dict.fromkeys((draw.data, draw.shots) for draw in ours):
        cells = [cell for draw, cell in ours.items() if (draw.data, draw.shots) == (data, shots)]
        peers = [cell for draw, cell in theirs.items() if (draw.data, draw.shots) == (data, shots)]
        rows.append(_row(data, shots, cells, peers))
    columns = ["Data", "Per class", "Training rows", "Draws", "Contrastive", "Linear probe"]
    columns += ["TF-IDF", "setfit", "Above the probe", "Not below setfit"]
    print_table([*columns, "Training, s", "setfit's", "At most half"], rows)
    print("Means over draws, with the standard deviation. Seconds are medians.\n")
    names = ("contrastive", "linear_probe", "tfidf_logreg")
    draws = [
        [f"{draw.data}, {draw.shots}", str(draw.seed)]
        + [f"{cell[name]:.4f}" for name in names]
        + [f"{theirs[draw]['setfit']:.4f}" if draw in theirs else ""]
        + [f"{cell['steps']}", f"{cell['train_s']:.1f}", f"{cell['load']:.1f}"]
        + [f"{theirs[draw]['train_s']:.1f}" if draw in theirs else ""]
        + [f"{theirs[draw]['load']:.1f}" if draw in theirs else ""]
        for draw, cell in sorted(ours.items(), key=lambda item: (item[0].data, item[0].shots))
    ]
    columns = ["Draws", "Seed", "Contrastive", "Linear probe", "TF-IDF", "setfit", "Steps"]
    print_table([*columns, "Training, s", "Load", "setfit's", "Load"], draws)


def _row(data: str, shots: int, cells: list[Cell], peers: list[Cell]) -> list[str]:
    def column(name: str) -> list[float]:
        return [cell[name] for cell in cells]

    mean = statistics.mean(column("contrastive"))
    seconds = statistics.median(column("train_s"))
    row = [data, str(shots), str(cells[0]["rows"]), str(len(cells))]
    row += [_spread(column(name)) for name in ("contrastive", "linear_probe", "tfidf_logreg")]
    beaten = reached(mean > statistics.mean(column("linear_probe")))
    if not peers:
        return [*row, "", beaten, "", f"{seconds:.1f}", "", ""]
    accuracies = [cell["setfit"] for cell in peers]
    theirs = statistics.median(cell["train_s"] for cell in peers)
    row += [_spread(accuracies), beaten, reached(mean >= statistics.mean(accuracies))]
    return [
        *row,
        f"{seconds:.1f}",
        f"{theirs:.1f}",
        reached(theirs >= TIMES_FASTER * seconds),
    ]


def _spread(values: list[float]) -> str:
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.4f} ± {deviation:.4f}"


if __name__ == "__main__":
    main()
