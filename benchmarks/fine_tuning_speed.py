"""How fast are all weights of MiniLM-L6 fine-tuned, beside transformers' own training loop?

SST-2's phrases, batches of 32. Each contestant is loaded in a process of its own and warmed up.
Then they take turns on the same texts, one computing at a time, so that the machine's drift
reaches all alike: a ratio compares neighbours in time, and is given as the median over the rounds
with its extremes. Tokenising is part of every time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from benchmarks.table import data_dir, print_heading, print_table, reached, say
from benchmarks.workers import Contestant, Worker, interpreter, started

BATCH = 32
TARGET = 1.3
_PEER = "sentence-transformers"  # its environment has transformers, which it is built on
_PAUSE_SECONDS = 1.0
_WARM_UP_BATCHES = 20


def _ours(precision: str, sampling: str = "by_length") -> Contestant:
    shuffled = ", without length buckets" if sampling == "shuffled" else ""
    return Contestant(f"ours, {precision}{shuffled}", None,
                      ("ours_fine_tuning", precision, sampling))


def _theirs(precision: str, sampling: str) -> Contestant:
    name = {"float32": "float32 (default)", "bfloat16": "bfloat16 autocast"}[precision]
    grouped = ", grouped by length" if sampling == "by_length" else ""
    return Contestant(f"transformers, {name}{grouped}", _PEER,
                      ("transformers_fine_tuning", "CHECKPOINT", precision, sampling))


OURS = (_ours("float32"), _ours("bfloat16"))
PEERS = tuple(
    _theirs(precision, sampling)
    for precision in ("float32", "bfloat16")
    for sampling in ("shuffled", "by_length")
)
# The bare step, so that a reader sees what the buckets bring and what the rest does.
CONTESTANTS = (*OURS, _ours("float32", "shuffled"), *PEERS)
# Each of ours against the default of the peer; every other pair is shown without a target.
GOALS = {(ours.name, PEERS[0].name) for ours in OURS}


def main() -> None:
    """Measure and print the table."""
    arguments = argparse.ArgumentParser(
        prog="python -m benchmarks.fine_tuning_speed", description=__doc__
    )
    arguments.add_argument(
        "--checkpoint", type=Path, required=True, help="the folder of all-MiniLM-L6-v2's files"
    )
    arguments.add_argument("--batches", type=int, default=100, help="of 32 texts, per round")
    arguments.add_argument("--rounds", type=int, default=7, help="turns of each contestant")
    arguments.add_argument("--seed", type=int, default=0, help="of the choice of texts")
    chosen = arguments.parse_args()
    if not (chosen.checkpoint / "vocab.txt").exists():
        arguments.error(f"no vocab.txt in the checkpoint. Received: {chosen.checkpoint}")
    if chosen.rounds < 1 or chosen.batches < 1:
        arguments.error("--rounds and --batches must be at least 1")
    interpreters = [interpreter(contestant) for contestant in CONTESTANTS]
    texts = phrases(BATCH * chosen.batches, chosen.seed)

    with ExitStack() as stack:
        file = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "texts.json"
        file.write_text(json.dumps(texts), encoding="utf-8")
        workers = []
        for contestant, python in zip(CONTESTANTS, interpreters, strict=True):
            say(f"loading {contestant.name}")
            workers.append(stack.enter_context(started(contestant, python, chosen.checkpoint)))
        for worker in workers:
            say(f"warming up {worker.contestant.name}")
            worker.work(file, min(len(texts), BATCH * _WARM_UP_BATCHES))
        for number in range(chosen.rounds):
            for worker in workers:
                time.sleep(_PAUSE_SECONDS)  # the threads of the one before have gone to sleep
                worker.speeds.append(worker.work(file, len(texts)))
                say(f"round {number + 1}: {worker.contestant.name} {worker.speeds[-1]:.0f} texts/s")
    report(workers, texts)


def phrases(count: int, seed: int) -> list[str]:
    """Return texts drawn from SST-2's training split."""
    from tfhub_transfer.config import DataConfig
    from tfhub_transfer.data.splits import load

    source = DataConfig(
        source="tfds:glue/sst2", dir=str(data_dir() / "tfds"), text_column="sentence"
    )
    train = load(source, seed=seed).train
    if count > len(train):
        raise SystemExit(f"error: {count} texts wanted of SST-2. Received: {len(train)}")
    return train.texts(np.random.default_rng(seed).choice(len(train), count, replace=False))


def report(workers: Sequence[Worker], texts: Sequence[str]) -> None:
    """Print speeds, then ratios with their target."""
    versions: dict[str, str] = {}
    for worker in workers:
        if worker.contestant.peer:
            versions |= worker.about["versions"]
    print_heading("Fine-tuning MiniLM-L6, all weights", versions)
    words = [len(text.split()) for text in texts]
    print(
        f"{len(texts):,} phrases of SST-2 (train), {statistics.mean(words):.1f} words on average, "
        f"batches of {BATCH}. {len(workers[0].speeds)} rounds.\n"
    )
    print_table(
        ["Training", "Texts/s, median", "Range"],
        [
            [
                worker.contestant.name,
                f"{statistics.median(worker.speeds):,.0f}",
                f"{min(worker.speeds):,.0f} to {max(worker.speeds):,.0f}",
            ]
            for worker in workers
        ],
    )
    rows = []
    by_name = {worker.contestant.name: worker.speeds for worker in workers}
    for ours in (c for c in CONTESTANTS if c.peer is None):
        for peer in PEERS:
            pairs = zip(by_name[ours.name], by_name[peer.name], strict=True)
            ratios = [mine / theirs for mine, theirs in pairs]
            middle, has_target = statistics.median(ratios), (ours.name, peer.name) in GOALS
            rows.append(
                [
                    f"{ours.name} / {peer.name}",
                    f"{middle:.2f} [{min(ratios):.2f}, {max(ratios):.2f}]",
                    f">= {TARGET}" if has_target else "",
                    reached(middle >= TARGET) if has_target else "",
                ]
            )
    print_table(["Ratio of speeds in one round", "Median [min, max]", "Target", "Reached"], rows)
    for worker in workers:
        print(f"- {worker.contestant.name}: {worker.about['note']}")


if __name__ == "__main__":
    main()
