"""What are word vectors worth that were made from 100 MB of text, and how long does it take?

The corpus is IMDB's unlabelled reviews and those of its training half, without labels, 75,000 in
all. swivel, nnlm and gensim's word2vec are trained on it, each in a process of its own, with three
seeds; then logistic regression on the vectors of SST-2's phrases and IMDB's reviews tells what they
know, beside the same on random vectors, and TF-IDF.

Everything trained is kept in `runs/benchmarks/word_vectors`, so that a stopped table goes on where
it was.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import shutil
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers import PEERS
from benchmarks.probing import PROBED, probe, tfidf
from benchmarks.resumable import Measurements, mean_and_deviation
from benchmarks.table import ROOT, data_dir, print_heading, print_table, reached, say
from benchmarks.training_runs import train
from tfhub_transfer.pretraining.corpus.corpus import Corpus
from tfhub_transfer.pretraining.swivel.settings import SwivelConfig
from tfhub_transfer.pretraining.words.exported_vectors import exported_vectors
from tfhub_transfer.pretraining.words.splitting import splitter
from tfhub_transfer.pretraining.words.text_embedding import write_text_embedding

CORPUS = ("tfds:imdb_reviews:unsupervised", "tfds:imdb_reviews:train")
VOCABULARY = SwivelConfig.vocabulary
ABOVE_RANDOM, MINUTES, GIGABYTES, RATE, TUNED = 0.10, 30.0, 4.0, 0.5, 0.885
PEER_DIMENSIONS = (20, 128)
# Of either the fewest epochs count whose accuracy is that of word2vec's last, or better.
SWIVEL_EPOCHS = (1, 2, 3, SwivelConfig.epochs)


@dataclass(frozen=True)
class Row:
    """One kind of vectors.

    Attributes:
        kind: of the pre-training.
        dimensions: of a vector.
        flags: of the command besides.
    """

    kind: str
    dimensions: int
    flags: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Of the row."""
        return f"{self.kind}, {self.dimensions}"


ROWS = (Row("swivel", 20), Row("swivel", 128), Row("nnlm", 50), Row("nnlm", 128))


class Bench:
    """What is trained and measured, each once."""

    def __init__(self, folder: Path, limit: int | None, python: Path | None):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.python, self._limit = folder, python, limit
        self.kept = Measurements(folder / "measured.json", {"limit": limit})
        self.corpus, self.words = folder / "corpus.txt", folder / "words.txt"

    def write_corpus(self) -> None:
        """Write the corpus twice: a text a line, and for gensim its words as we split them."""
        if self.words.exists():
            return
        say("corpus")
        split = splitter("lower_case")
        parts = [self.folder / "corpus.part", self.folder / "words.part"]
        batches = Corpus(CORPUS, dir=str(data_dir() / "tfds")).batches()
        texts = itertools.islice(itertools.chain.from_iterable(batches), self._limit)
        open_text = functools.partial(open, mode="w", encoding="utf-8")
        with open_text(parts[0]) as plain, open_text(parts[1]) as words:
            for text in texts:
                plain.write(" ".join(text.split()) + "\n")
                words.write(" ".join(split(text)) + "\n")
        parts[0].replace(self.corpus)
        parts[1].replace(self.words)

    def ours(self, row: Row, seed: int) -> dict[str, Any]:
        """Return seconds, peak memory and accuracies of one of ours."""
        run = self.folder / f"{row.kind}-{row.dimensions}-{seed}{''.join(row.flags)}"

        def measure() -> dict[str, Any]:
            flags = ["--corpus", str(self.corpus), "--dimensions", str(row.dimensions)]
            flags += ["--seed", str(seed), "--run", str(run), "--overwrite", *row.flags]
            if self._limit:
                flags += ["--vocabulary", "1000"]
            module = ["tfhub_transfer.pretrain", row.kind]
            used = _run([sys.executable, "-m", *module, *flags])
            return {**used, **probe(run / "module")}

        return self.kept.get(f"{row.name} {' '.join(row.flags)} seed {seed}", measure)

    def word2vec(self, dimensions: int, seed: int) -> list[dict[str, Any]]:
        """Return, for each epoch, seconds until its end and accuracies."""

        def measure() -> list[dict[str, Any]]:
            folder = self.folder / f"word2vec-{dimensions}-{seed}"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            task = {"dimensions": dimensions, "vocabulary": VOCABULARY, "seed": seed}
            command = [str(self.python), "-m", "benchmarks.peers.word2vec_worker"]
            used = _run([*command, str(self.words), str(folder), json.dumps(task)])
            answer = json.loads((folder / "answer.json").read_text())
            self.kept.get("versions", lambda: answer["versions"])
            words = (folder / "words.txt").read_text(encoding="utf-8").splitlines()
            epochs = []
            for number, seconds in enumerate(answer["seconds"], start=1):
                with np.load(folder / f"{number}.npz") as found:
                    vectors, counts = found["vectors"], found["counts"]
                module = folder / f"module-{number}"
                _write(module, words, vectors, counts)
                epochs.append({**used, "seconds": seconds, **probe(module)})
            shutil.rmtree(folder)
            return epochs

        return self.kept.get(f"word2vec, {dimensions} seed {seed}", measure)

    def random(self, dimensions: int, seed: int) -> dict[str, float]:
        """Return the accuracies of normal random vectors of the same words."""

        def measure() -> dict[str, float]:
            like = next(self.folder.glob("*/module/assets/vocabulary.txt"))
            words = like.read_text(encoding="utf-8").splitlines()
            module = self.folder / f"random-{dimensions}-{seed}"
            shutil.rmtree(module, ignore_errors=True)
            shape = (len(words), dimensions)
            vectors = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
            _write(module, words, vectors, np.ones(len(words), np.int64))
            return probe(module)

        return self.kept.get(f"random, {dimensions} seed {seed}", measure)

    def fine_tuned(self, row: Row, seed: int) -> float:
        """Return IMDB's test accuracy when the vectors move too."""
        module = self.folder / f"{row.kind}-{row.dimensions}-{seed}" / "module"
        flags = ["--data.source", "tfds:imdb_reviews", "--data.dir", str(data_dir() / "tfds")]
        flags += ["--encoder.name", str(module), "--training.strategy", "fine_tuning"]
        flags += ["--training.epochs", "4", "--head.dropout", "0.5", "--seed", str(seed)]
        flags += ["--evaluation.baselines", "[]"]
        run = self.folder / f"tuned-{row.kind}-{row.dimensions}-{seed}"

        def measure() -> float:
            return float(train(run, flags).load_metrics()["test"]["accuracy"])

        return float(self.kept.get(f"{row.name} fine-tuned, seed {seed}", measure))


def main() -> None:
    """Train what is missing and print the tables."""
    arguments = argparse.ArgumentParser(
        prog="python -m benchmarks.word_vectors", description=__doc__
    )
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--row", action="append", choices=[row.name for row in ROWS])
    arguments.add_argument("--without-peer", action="store_true", help="leave out word2vec")
    arguments.add_argument("--limit", type=int, help="texts of the corpus, to try it out")
    folder = ROOT / "runs" / "benchmarks" / "word_vectors"
    arguments.add_argument("--folder", type=Path, default=folder, help="of what is trained")
    chosen = arguments.parse_args()
    python = None if chosen.without_peer else PEERS["word2vec"].interpreter()
    bench = Bench(chosen.folder.resolve(), chosen.limit, python)
    bench.write_corpus()
    rows = [row for row in ROWS if not chosen.row or row.name in chosen.row]
    seeds = range(chosen.seeds)

    lines = [
        _line(row.name, [bench.ours(row, seed) for seed in seeds], bench, row.dimensions, seeds)
        for row in rows
    ]
    if python:
        for dimensions in PEER_DIMENSIONS:
            last = [bench.word2vec(dimensions, seed)[-1] for seed in seeds]
            lines.append(_line(f"word2vec, {dimensions}", last, bench, dimensions, seeds))
    for dimensions in dict.fromkeys(row.dimensions for row in rows):
        found = [bench.random(dimensions, seed) for seed in seeds]
        scores = [mean_and_deviation([run[name] for run in found]) for name in PROBED]
        lines.append([f"random, {dimensions}", "", "", *scores, "", "", ""])
    plain = bench.kept.get("tfidf", tfidf)
    lines.append(["TF-IDF", "", "", *(f"{plain[name]:.4f}" for name in PROBED), "", "", ""])
    versions = bench.kept.get("versions", dict) if python else {}
    print_heading("Word vectors from 100 MB of reviews", versions)
    columns = ["Vectors", "Seconds", "Peak, MB", *PROBED, "Above random, points"]
    columns += [f"{100 * ABOVE_RANDOM:g} above both", f"{MINUTES:g} min, {GIGABYTES:g} GB"]
    print_table(columns, lines)
    print(
        f"Accuracies: means of {len(seeds)} seeds, with the standard deviation. Seconds: medians, "
        f"from the command to the module, with the import of TensorFlow; of word2vec from words "
        f"that are parted already to vectors, without its imports. Beside other processes they "
        f"mean little.\n"
    )
    if python:
        _print_times(bench, seeds)
    tuned = [row for row in rows if row.name == "nnlm, 128"]
    for row in tuned:
        scores = [bench.fine_tuned(row, seed) for seed in seeds]
        print(
            f"{row.name}, fine-tuned on IMDB (4 epochs, dropout 0.5): "
            f"{mean_and_deviation(scores)} test accuracy; {TUNED} or more: "
            f"{reached(statistics.mean(scores) >= TUNED)}."
        )


def _line(
    name: str, found: list[dict[str, Any]], bench: Bench, dimensions: int, seeds: range
) -> list[str]:
    gains = []
    for place in PROBED:
        base = statistics.mean(bench.random(dimensions, seed)[place] for seed in seeds)
        gains.append(statistics.mean(run[place] for run in found) - base)
    seconds = statistics.median(run["seconds"] for run in found)
    peak = max(run["peak_mb"] for run in found)
    return [
        name,
        f"{seconds:.0f}",
        f"{peak:,.0f}",
        *(mean_and_deviation([run[place] for run in found]) for place in PROBED),
        ", ".join(f"{100 * gain:+.1f}" for gain in gains),
        reached(min(gains) >= ABOVE_RANDOM),
        reached(seconds < 60 * MINUTES and peak < 1000 * GIGABYTES),
    ]


def _print_times(bench: Bench, seeds: range) -> None:
    """Print how long either takes to be as good as word2vec is after its five epochs."""
    lines = []
    for dimensions, place in itertools.product(PEER_DIMENSIONS, PROBED):
        theirs = [
            _middle(list(epoch), place)
            for epoch in zip(*(bench.word2vec(dimensions, s) for s in seeds), strict=True)
        ]
        aim = theirs[-1][0]
        number, their_seconds = next(
            (number, seconds)
            for number, (score, seconds) in enumerate(theirs, start=1)
            if score >= aim
        )
        line = [f"{place}, {dimensions}", f"{aim:.4f}", f"{number}", f"{their_seconds:.0f}"]
        for epochs in SWIVEL_EPOCHS:
            asked = ("--epochs", str(epochs)) if epochs != SwivelConfig.epochs else ()
            row = Row("swivel", dimensions, asked)
            score, seconds = _middle([bench.ours(row, seed) for seed in seeds], place)
            if score >= aim:
                rate = their_seconds / seconds
                line += [f"{epochs}", f"{score:.4f}", f"{seconds:.0f}", f"{rate:.2f}"]
                lines.append([*line, reached(rate >= RATE)])
                break
        else:
            lines.append([*line, "not reached", "", "", "", reached(False)])
    columns = ["Probe, dimensions", "word2vec's", "after its epochs", "its seconds"]
    columns += ["swivel's epochs", "swivel's"]
    print_table([*columns, "its seconds", "Rate", f"{RATE:g} or more"], lines)


def _middle(found: list[dict[str, Any]], place: str) -> tuple[float, float]:
    """Return the mean accuracy and the median of the seconds."""
    return (
        statistics.mean(run[place] for run in found),
        statistics.median(run["seconds"] for run in found),
    )


def _write(module: Path, words: list[str], vectors: np.ndarray, counts: np.ndarray) -> None:
    """Write a module as ours are, with a bucket of zero."""
    module.mkdir()
    exported = exported_vectors(np.pad(vectors, [(0, 1), (0, 0)]), np.pad(counts, (0, 1)))
    write_text_embedding(module, words, exported, "lower_case")


# Linux counts the memory of who starts a process as that process's own peak: this one is small.
_STARTER = """
import json, os, subprocess, sys, time
began = time.monotonic()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
process.returncode = os.waitstatus_to_exitcode(status)
print(json.dumps({"seconds": time.monotonic() - began, "peak_mb": usage.ru_maxrss / 1000}))
sys.exit(process.returncode)
"""


def _run(command: list[str]) -> dict[str, float]:
    """Run to the end and return the seconds and the peak of resident memory."""
    starter = [sys.executable, "-S", "-c", _STARTER]
    command = [*starter, *command]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"error: exit code {done.returncode}: {' '.join(command)}")
    used: dict[str, float] = json.loads(done.stdout)
    return used


if __name__ == "__main__":
    main()
