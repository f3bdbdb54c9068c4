"""Does memory grow with the file? Trains on a file and on one ten times as long.

Both files are made up: distinct short sentences in three classes. The process's resident memory is
sampled from `/proc`, and each sample belongs to the step that the run directory shows: reading
until the feature cache begins, encoding until it has all texts, training until the model is saved,
then measuring and reporting. The feature cache is a new one, in the temporary directory.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.table import ROOT, print_heading, print_table, reached, say
from benchmarks.training_runs import command

FLAGS = ["--encoder.name", "minilm-static", "--encoder.offline", "true", "--training.epochs", "2"]
TARGET = 1.2
STEPS = ("reading", "encoding", "training", "measuring")

_SAMPLE_SECONDS = 0.05
_KEY_BYTES = 16

# One topic word in fifteen is of another class, so that no model is perfect.
TOPICS = {
    "kitchen": "soup bread oven onion recipe butter flour spoon garlic dinner salt pan stew",
    "sport": "goal match coach league tennis stadium sprint medal referee team player score cup",
    "weather": "rain storm cloud snow sunshine wind frost forecast thunder fog breeze hail heat",
}
# Four places of forty words each tell 2,560,000 sentences apart.
WORDS = (
    "old new red blue small large quiet loud early late warm cold bright dark soft hard quick slow "
    "plain fine long short deep flat round sharp clean rough full empty open closed near distant "
    "simple strange famous broken golden silver",
    "house street garden river bridge school office market station village island forest mountain "
    "museum library theatre harbour castle factory airport hotel church tower valley beach road "
    "field park room corner window door table chair letter book picture clock mirror lamp",
    "shows brings keeps finds leaves holds makes takes gives sends wants needs sees hears likes "
    "follows changes covers opens closes moves turns fills meets joins helps starts stops passes "
    "carries offers reaches touches marks paints counts lifts draws pulls pushes",
    "today tomorrow yesterday tonight monday tuesday wednesday thursday friday saturday sunday "
    "january february march april may june july august september october november december spring "
    "summer autumn winter morning noon evening midnight again always never often seldom once twice "
    "soon later",
)


@dataclass
class Memory:
    """The highest samples of one process, in bytes; `peak` is the kernel's own high-water mark."""

    peak: int = 0
    seconds: float = 0.0
    resident: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STEPS, 0))
    anonymous: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STEPS, 0))


def main() -> None:
    """Make the files, train on each and print the table."""
    arguments = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    arguments.add_argument("--rows", type=int, default=200_000, help="of the shorter file")
    arguments.add_argument("--factor", type=int, default=10, help="how much longer the other is")
    arguments.add_argument("--seed", type=int, default=0, help="of the sentences")
    chosen = arguments.parse_args()
    if not Path("/proc/self/status").exists():
        raise SystemExit("error: memory is read from /proc, which only Linux has.")
    capacity = _capacity()
    if not 1 <= chosen.rows * chosen.factor <= capacity:
        raise SystemExit(
            f"error: the word lists make {capacity:,} distinct sentences. "
            f"Received: {chosen.rows * chosen.factor:,} rows"
        )
    sizes = (chosen.rows, chosen.rows * chosen.factor)
    measured = []
    for size in sizes:
        with tempfile.TemporaryDirectory() as temporary:
            file = Path(temporary) / "sentences.csv"
            write_sentences(file, size, chosen.seed)
            say(f"training on {size:,} rows, {file.stat().st_size / 1e6:,.0f} MB")
            measured.append(measure(file, size))
    report(sizes, measured)


def write_sentences(file: Path, rows: int, seed: int) -> None:
    """Write a CSV of `rows` distinct sentences and their labels."""
    with file.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(["text", "label"])
        writer.writerows(sentences(rows, seed))


def sentences(rows: int, seed: int) -> Iterator[tuple[str, str]]:
    """Yield sentences and their labels; the row's number in mixed radix makes them distinct."""
    rng = random.Random(seed)
    places = [words.split() for words in WORDS]
    topics = {name: words.split() for name, words in TOPICS.items()}
    names = list(topics)
    # Any stride without a factor in common with the capacity visits each number once.
    number, stride, capacity = 0, 1_234_577, _capacity()
    for _ in range(rows):
        number = (number + stride) % capacity
        rest, digits = number, []
        for words in places:
            rest, digit = divmod(rest, len(words))
            digits.append(words[digit])
        label = rng.choice(names)
        first, second = (
            rng.choice(topics[label if rng.random() < 0.9 else rng.choice(names)]) for _ in range(2)
        )
        yield f"the {digits[0]} {first} of the {digits[1]} {digits[2]} {second} {digits[3]}", label


def measure(file: Path, rows: int) -> Memory:
    """Train on `file` in another process and return what memory that took.

    Raises:
        SystemExit: the training failed.
    """
    run, features = file.with_name("run"), file.with_name("cache")
    flags = ["--data.source", str(file), *FLAGS]
    environment = {
        **os.environ,
        "TFHUB_TRANSFER_CACHE_DIR": str(features),
        "TMPDIR": str(file.parent),
    }
    memory, began = Memory(), time.monotonic()
    with subprocess.Popen(
        command(run, flags), cwd=ROOT, env=environment, stdout=subprocess.DEVNULL
    ) as process:
        while process.poll() is None:
            step = _step(run, features, rows)
            status = _status(process.pid)
            memory.peak = max(memory.peak, status.get("VmHWM", 0))
            memory.resident[step] = max(memory.resident[step], status.get("VmRSS", 0))
            memory.anonymous[step] = max(memory.anonymous[step], status.get("RssAnon", 0))
            time.sleep(_SAMPLE_SECONDS)
    memory.seconds = time.monotonic() - began
    if process.returncode:
        raise SystemExit(f"error: training ended with exit code {process.returncode}.")
    return memory


def report(sizes: tuple[int, int], measured: list[Memory]) -> None:
    """Print the table."""
    small, large = measured
    print_heading("Memory while encoding and training, by the length of the file")
    columns = [
        "Peak resident memory, MB",
        *(f"{size:,} rows" for size in sizes),
        "Ratio",
        "Anonymous, MB",
        "Ratio ",
        "Target",
        "Reached",
    ]
    kept = ("encoding", "training")
    rows = [_row(step, small, large, (step,), step in kept) for step in STEPS]
    rows.append(_row("**encoding and training**", small, large, kept, target=True))
    ratio = large.peak / small.peak
    rows.append(
        ["whole process (VmHWM)", _mb(small.peak), _mb(large.peak), f"{ratio:.2f}", "", "", "", ""]
    )
    print_table(columns, rows)
    print(
        f"`python -m tfhub_transfer.train {' '.join(FLAGS)}`, sampled every "
        f"{1000 * _SAMPLE_SECONDS:.0f} ms. Resident memory counts pages of mapped files too; "
        f"anonymous memory does not. The runs took {small.seconds:.0f} s and "
        f"{large.seconds:.0f} s in all."
    )


def _row(
    name: str, small: Memory, large: Memory, steps: tuple[str, ...], target: bool
) -> list[str]:
    resident = [max(memory.resident[step] for step in steps) for memory in (small, large)]
    anonymous = [max(memory.anonymous[step] for step in steps) for memory in (small, large)]
    ratio = _ratio(resident)
    verdict = [f"< {TARGET}", reached(ratio < TARGET)] if target else ["", ""]
    return [
        name,
        *map(_mb, resident),
        f"{ratio:.2f}",
        " to ".join(map(_mb, anonymous)),
        f"{_ratio(anonymous):.2f}",
        *verdict,
    ]


def _ratio(pair: list[int]) -> float:
    return pair[1] / pair[0] if pair[0] else float("nan")


def _mb(size: int) -> str:
    return f"{size / 1e6:,.0f}"


def _step(run: Path, features: Path, rows: int) -> str:
    """Return what the training process is doing, as its files show it."""
    if (run / "model.keras").exists():
        return "measuring"
    keys = next(features.glob("features/*/keys.b16"), None)
    if keys is not None and keys.stat().st_size >= rows * _KEY_BYTES:
        return "training"
    return "encoding" if features.exists() else "reading"


def _status(process: int) -> dict[str, int]:
    """Return the sizes in the kernel's status of a process, in bytes; none if it has ended."""
    try:
        text = Path(f"/proc/{process}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return {}
    fields = (line.split() for line in text.splitlines() if line.endswith(" kB"))
    return {name.rstrip(":"): 1024 * int(size) for name, size, *_ in fields}


def _capacity() -> int:
    capacity = 1
    for words in WORDS:
        capacity *= len(words.split())
    return capacity


if __name__ == "__main__":
    main()
