"""How many texts a second does an exported tagger label, beside a PyTorch transformers pipeline?

Both have the weights of one run, fine-tuned on some of CoNLL-2003 without the shapes of words, of
which transformers has no layer: the artifact is exported from it, and the same numbers are written
as a checkpoint for transformers. Each contestant is loaded in a process of its own and
warmed up; then they take turns on the same raw texts, CoNLL-2003's test sentences, one computing at
a time: a ratio compares neighbours in time, and is given as the median over the rounds with its
extremes. Tokenising, and joining tags to entities or to words, is part of every time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.table import ROOT, data_dir, print_heading, print_table, reached, say
from benchmarks.tagging import RUNS, SHARED, TUNED
from benchmarks.training_runs import train_once
from benchmarks.workers import Contestant, Worker, interpreter, started

TARGET = 1.5
TRAINED_ON = ("--data.limit", "2000", "--training.epochs", "3")
_PEER = "sentence-transformers"  # its environment has transformers, which it is built on
_PAUSE_SECONDS = 1.0

OURS = tuple(
    Contestant(f"exported artifact, batches of {size}", None, ("ours_tagging", "MODELS", str(size)))
    for size in (32, 1)
)
PEERS = tuple(
    Contestant(
        f"transformers pipeline, batches of {size}",
        _PEER,
        ("transformers_tagging", "MODELS", str(size)),
    )
    for size in (32, 1)
)


def main() -> None:
    """Measure and print the table."""
    arguments = argparse.ArgumentParser(
        prog="python -m benchmarks.tagging_speed", description=__doc__
    )
    arguments.add_argument(
        "--checkpoint", type=Path, required=True, help="the folder of all-MiniLM-L6-v2's files"
    )
    arguments.add_argument("--run", type=Path, help="a tagger with one linear layer and no shapes")
    arguments.add_argument("--texts", type=int, default=1000, help="test sentences, per round")
    arguments.add_argument("--rounds", type=int, default=7, help="turns of each contestant")
    chosen = arguments.parse_args()
    if not (chosen.checkpoint / "vocab.txt").exists():
        arguments.error(f"no vocab.txt in the checkpoint. Received: {chosen.checkpoint}")
    contestants = (*OURS, *PEERS)
    interpreters = [interpreter(contestant) for contestant in contestants]
    texts = sentences(chosen.texts)
    run = chosen.run or tuned()
    with ExitStack() as stack:
        models = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        export(run, models)
        write_checkpoint(run, chosen.checkpoint, models / "checkpoint")
        file = models / "texts.json"
        file.write_text(json.dumps(texts), encoding="utf-8")
        workers = []
        for contestant, python in zip(contestants, interpreters, strict=True):
            say(f"loading {contestant.name}")
            workers.append(stack.enter_context(_loaded(contestant, python, models)))
        for worker in workers:
            say(f"warming up {worker.contestant.name}")
            worker.work(file, len(texts))
        for number in range(chosen.rounds):
            for worker in workers:
                time.sleep(_PAUSE_SECONDS)  # the threads of the one before have gone to sleep
                worker.speeds.append(worker.work(file, len(texts)))
                say(f"round {number + 1}: {worker.contestant.name} {worker.speeds[-1]:.0f} texts/s")
        agreement = _agreement(models, texts)
    report(workers, texts, agreement)


def _loaded(contestant: Contestant, python: Path, models: Path) -> Any:
    module = tuple(str(models) if part == "MODELS" else part for part in contestant.module)
    return started(Contestant(contestant.name, contestant.peer, module), python, models)


def sentences(count: int) -> list[str]:
    """Return CoNLL-2003's first test sentences of three words and more, between single spaces."""
    from tfhub_transfer.config import DataConfig
    from tfhub_transfer.data.tagged import load_tagged

    data = load_tagged(DataConfig(source=str(data_dir() / "ner" / "conll2003")), seed=0)
    rows = np.arange(len(data.test))
    texts = [text for text in data.test.texts(rows) if text.count(" ") >= 2][:count]
    if len(texts) < count:
        raise SystemExit(f"error: {count} sentences wanted. Received: {len(texts)}")
    return texts


def tuned() -> Path:
    """Return the run that both have the weights of; it is trained once."""
    flags = ("--data.source", str(data_dir() / "ner" / "conll2003"), *SHARED, *TUNED, *TRAINED_ON)
    return train_once(RUNS / "tagging_speed", flags).path


def export(run: Path, models: Path) -> None:
    """Write `models/tagger/1` with the public command."""
    say("export")
    command = [sys.executable, "-m", "tfhub_transfer.export", "--run", str(run)]
    command += ["--name", "tagger", "--directory", str(models)]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def write_checkpoint(run: Path, checkpoint: Path, target: Path) -> None:
    """Write a run's weights as a `BertForTokenClassification` in Hugging Face layout.

    Args:
        run: of a fine-tuned minilm-l6 with a linear head, one logit a tag.
        checkpoint: what the encoder was built from.
        target: the directory to write.
    """
    from safetensors.numpy import save_file

    from tfhub_transfer.runs import Run
    from tfhub_transfer.training.classifier import Classifier

    classifier = Classifier.load(Run.open(run))
    ours = {weight.path: weight.numpy() for weight in classifier.encoder.weights}
    head = [weight.numpy() for weight in classifier.network.weights]
    labels = classifier.head.labels
    config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    theirs = {}

    def dense(name: str, source: str, part: int | None = None) -> None:
        kernel, bias = ours[f"{source}/kernel"], ours[f"{source}/bias"]
        if part is not None:  # query, key and value are one matrix with us
            kernel, bias = np.split(kernel, 3, axis=1)[part], np.split(bias, 3)[part]
        theirs[f"{name}.weight"], theirs[f"{name}.bias"] = np.ascontiguousarray(kernel.T), bias

    def norm(name: str, source: str) -> None:
        theirs[f"{name}.weight"] = ours[f"{source}/gamma"]
        theirs[f"{name}.bias"] = ours[f"{source}/beta"]

    for kind, plural in (("word", "word"), ("position", "position"), ("type", "token_type")):
        source = ours[f"embeddings/{kind}/embeddings"]
        theirs[f"bert.embeddings.{plural}_embeddings.weight"] = source
    norm("bert.embeddings.LayerNorm", "embeddings/norm")
    for number in range(config["num_hidden_layers"]):
        name, source = f"bert.encoder.layer.{number}", f"layer_{number}"
        for part, which in enumerate(("query", "key", "value")):
            dense(f"{name}.attention.self.{which}", f"{source}/attention/qkv", part)
        dense(f"{name}.attention.output.dense", f"{source}/attention/output")
        norm(f"{name}.attention.output.LayerNorm", f"{source}/attention/norm")
        dense(f"{name}.intermediate.dense", f"{source}/feed_forward/up")
        dense(f"{name}.output.dense", f"{source}/feed_forward/down")
        norm(f"{name}.output.LayerNorm", f"{source}/feed_forward/norm")
    theirs["classifier.weight"], theirs["classifier.bias"] = head[0].T.copy(), head[1]

    target.mkdir()
    save_file(theirs, target / "model.safetensors", metadata={"format": "pt"})
    tags = {
        "architectures": ["BertForTokenClassification"],
        "id2label": dict(enumerate(labels)),
        "label2id": {label: number for number, label in enumerate(labels)},
    }
    (target / "config.json").write_text(json.dumps({**config, **tags}), encoding="utf-8")
    for name in ("vocab.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        if (checkpoint / name).exists():
            (target / name).write_bytes((checkpoint / name).read_bytes())


def _agreement(models: Path, texts: Sequence[str]) -> float:
    """Return the share of texts in which both found the same entities, as each has left them.

    Texts with a hyphen are left out: for the pipeline it parts a word, for us it does not.
    """
    ours, theirs = (
        json.loads((models / f"{side}.json").read_text(encoding="utf-8"))
        for side in ("ours", "theirs")
    )
    rows = [row for row, text in enumerate(texts) if "-" not in text]
    return float(np.mean([ours[row] == theirs[row] for row in rows]))


def report(workers: Sequence[Worker], texts: Sequence[str], agreement: float) -> None:
    """Print speeds, then ratios with their target."""
    versions: dict[str, str] = {}
    for worker in workers:
        if worker.contestant.peer:
            versions |= worker.about["versions"]
    print_heading("Tagging with an exported artifact, MiniLM-L6", versions)
    words = [len(text.split()) for text in texts]
    print(
        f"{len(texts):,} sentences of CoNLL-2003 (test), {statistics.mean(words):.1f} words on "
        f"average. {len(workers[0].speeds)} rounds. Of the texts without a hyphen, both found "
        f"the same entities in {agreement:.1%}.\n"
    )
    print_table(
        ["Tagger", "Texts/s, median", "Range"],
        [
            [
                worker.contestant.name,
                f"{statistics.median(worker.speeds):,.0f}",
                f"{min(worker.speeds):,.0f} to {max(worker.speeds):,.0f}",
            ]
            for worker in workers
        ],
    )
    speeds = {worker.contestant.name: worker.speeds for worker in workers}
    rows = []
    for ours, peer in zip(OURS, PEERS, strict=True):
        pairs = zip(speeds[ours.name], speeds[peer.name], strict=True)
        ratios = [mine / theirs for mine, theirs in pairs]
        middle = statistics.median(ratios)
        rows.append(
            [
                f"{ours.name} / {peer.name}",
                f"{middle:.2f} [{min(ratios):.2f}, {max(ratios):.2f}]",
                f">= {TARGET}",
                reached(middle >= TARGET),
            ]
        )
    print_table(["Ratio of speeds in one round", "Median [min, max]", "Target", "Reached"], rows)
    for worker in workers:
        print(f"- {worker.contestant.name}: {worker.about['note']}")


if __name__ == "__main__":
    main()
