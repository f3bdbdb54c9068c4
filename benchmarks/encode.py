"""How fast are real sentences encoded, beside other projects with the same MiniLM weights?

Each encoder is loaded in a process of its own and warmed up once. Then they take turns, one
computing at a time, so that the machine's drift reaches all alike: a ratio compares neighbours in
time, and is given as the median over the rounds with its extremes. Tokenising is part of every
time.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from benchmarks.peers import PEERS
from benchmarks.table import data_dir, print_heading, print_table, reached, say
from benchmarks.workers import Contestant, Worker, interpreter, started

# Equally many texts of each one's training split.
SOURCES = ("ag_news", "banking77", "trec", "clinc150")

_WARM_UP_SHARE = 4
_LEAST_TEXTS = 32
_PAUSE_SECONDS = 1.0

OURS = "ours, float32"
OURS_BFLOAT16 = "ours, bfloat16"
CONTESTANTS = (
    Contestant(OURS, None, ("ours", "float32")),
    Contestant(
        "sentence-transformers, float32 (default)",
        "sentence-transformers",
        ("sentence_transformers_worker", "CHECKPOINT", "float32"),
        target={OURS_BFLOAT16: 2.0},
    ),
    Contestant(OURS_BFLOAT16, None, ("ours", "bfloat16")),
    Contestant(
        "sentence-transformers, bfloat16",
        "sentence-transformers",
        ("sentence_transformers_worker", "CHECKPOINT", "bfloat16"),
        target={OURS_BFLOAT16: 1.15},
    ),
    Contestant(
        "keras-hub (default)",
        "keras-hub",
        ("keras_hub_worker", "CHECKPOINT"),
        share=32,
        target={OURS_BFLOAT16: 8.0},
    ),
)


def main() -> None:
    """Measure and print the table."""
    arguments = argparse.ArgumentParser(prog="python -m benchmarks.encode", description=__doc__)
    arguments.add_argument(
        "--checkpoint", type=Path, required=True, help="the folder of all-MiniLM-L6-v2's files"
    )
    arguments.add_argument("--texts", type=int, default=4000, help="per round")
    arguments.add_argument("--rounds", type=int, default=7, help="turns of each encoder")
    arguments.add_argument("--seed", type=int, default=0, help="of the texts' order")
    arguments.add_argument(
        "--without-peer",
        action="append",
        default=[],
        choices=list(PEERS),
        metavar="NAME",
        help=f"leave one out: {', '.join(PEERS)}",
    )
    chosen = arguments.parse_args()
    if not (chosen.checkpoint / "vocab.txt").exists():
        arguments.error(f"no vocab.txt in the checkpoint. Received: {chosen.checkpoint}")
    if chosen.rounds < 1 or chosen.texts < _LEAST_TEXTS:
        arguments.error(f"--rounds must be at least 1 and --texts at least {_LEAST_TEXTS}")
    taking_part = [c for c in CONTESTANTS if c.peer not in chosen.without_peer]
    texts = sentences(chosen.texts, chosen.seed)

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        file = folder / "texts.json"
        file.write_text(json.dumps(texts), encoding="utf-8")
        interpreters = {c.name: interpreter(c) for c in taking_part}  # all, before any is loaded
        workers = []
        for contestant in taking_part:
            say(f"loading {contestant.name}")
            workers.append(
                stack.enter_context(
                    started(contestant, interpreters[contestant.name], chosen.checkpoint)
                )
            )
        warm_up = max(len(texts) // _WARM_UP_SHARE, _LEAST_TEXTS)
        for worker in workers:
            say(f"warming up {worker.contestant.name}")
            slow = worker.contestant.share > 1
            worker.work(file, _per_round(worker.contestant, texts) if slow else warm_up)
        for number in range(chosen.rounds):
            for worker in workers:
                time.sleep(_PAUSE_SECONDS)  # the threads of the one before have gone to sleep
                count = _per_round(worker.contestant, texts)
                # others than in the round before, where a round does not see all
                first = number * count % (len(texts) - count + 1)
                worker.speeds.append(worker.work(file, count, first))
                say(f"round {number + 1}: {worker.contestant.name} {worker.speeds[-1]:.0f} texts/s")
    report(workers, chosen.without_peer, texts, _tokens(texts))


def sentences(count: int, seed: int) -> list[str]:
    """Return equally many real sentences of each source, shuffled."""
    rng = random.Random(seed)
    chosen: list[str] = []
    for place, source in enumerate(SOURCES):
        wanted = count // len(SOURCES) + (place < count % len(SOURCES))
        file = data_dir() / "text" / source / "train.csv"
        with file.open(encoding="utf-8", newline="") as lines:
            texts = [row["text"] for row in csv.DictReader(lines)]
        if len(texts) < wanted:
            raise SystemExit(f"error: {wanted} texts wanted of {source}. Received: {len(texts)}")
        chosen += rng.sample(texts, wanted)
    rng.shuffle(chosen)
    return chosen


def report(
    workers: Sequence[Worker], left_out: Sequence[str], texts: Sequence[str], tokens: np.ndarray
) -> None:
    """Print speeds, then ratios with their targets."""
    versions: dict[str, str] = {}
    for worker in workers:
        if worker.contestant.peer:
            for package, version in worker.about["versions"].items():
                versions[f"{package} ({worker.contestant.peer})"] = version
    print_heading("Encoding sentences with MiniLM-L6", versions)
    print(
        f"{len(texts):,} texts, equally many of {', '.join(SOURCES)} (train), shuffled; "
        f"{tokens.mean():.1f} tokens on average, the special ones included, median "
        f"{np.median(tokens):.0f}, longest {tokens.max()}. {len(workers[0].speeds)} rounds.\n"
    )
    by_name = {worker.contestant.name: worker for worker in workers}
    rows = []
    for contestant in CONTESTANTS:
        if contestant.name not in by_name:
            rows.append([contestant.name, "not measured", "", "", ""])
            continue
        worker = by_name[contestant.name]
        rows.append(
            [
                contestant.name,
                f"{statistics.median(worker.speeds):,.0f}",
                f"{min(worker.speeds):,.0f} to {max(worker.speeds):,.0f}",
                f"{_per_round(contestant, texts):,}",
                _agreement(worker.vectors, by_name[OURS].vectors),
            ]
        )
    print_table(
        ["Encoder", "Texts/s, median", "Range", "Texts per round", "Cosine to ours, float32"], rows
    )
    rows = []
    for ours in (OURS, OURS_BFLOAT16):
        for contestant in CONTESTANTS:
            if contestant.peer is None:
                continue
            name = f"{ours} / {contestant.name}"
            target = contestant.target.get(ours)
            shown = f">= {target}" if target else ""
            if contestant.name not in by_name:
                rows.append([name, "not measured", shown, ""])
                continue
            pairs = zip(by_name[ours].speeds, by_name[contestant.name].speeds, strict=True)
            ratios = [mine / theirs for mine, theirs in pairs]
            middle = statistics.median(ratios)
            rows.append(
                [
                    name,
                    f"{middle:.2f} [{min(ratios):.2f}, {max(ratios):.2f}]",
                    shown,
                    reached(middle >= target) if target else "",
                ]
            )
    print_table(["Ratio of speeds in one round", "Median [min, max]", "Target", "Reached"], rows)
    for worker in workers:
        print(f"- {worker.contestant.name}: {worker.about['note']}")
    for name in left_out:
        print(f"- {name}: left out by --without-peer")


def _per_round(contestant: Contestant, texts: Sequence[str]) -> int:
    return max(_LEAST_TEXTS, len(texts) // contestant.share)


def _agreement(vectors: np.ndarray, reference: np.ndarray) -> str:
    """Return the lowest cosine between two encoders' first vectors, where both have some."""
    if not vectors.size or vectors.shape != reference.shape:
        return ""
    products = (vectors * reference).sum(axis=1)
    norms = np.linalg.norm(vectors, axis=1) * np.linalg.norm(reference, axis=1)
    return f"{(products / norms).min():.5f}"


def _tokens(texts: Sequence[str]) -> np.ndarray:
    """Return the number of tokens of each text, as our preprocessor cuts them."""
    import tensorflow as tf

    from tfhub_transfer.encoders.layer import HubLayer

    layer = HubLayer("minilm-l6", offline=True)
    lengths: np.ndarray = layer.preprocess(tf.constant(texts))["input_mask"].numpy().sum(axis=1)
    return lengths


if __name__ == "__main__":
    main()
