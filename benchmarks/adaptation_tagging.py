"""What does adapting a tagger to another domain give? From news, CoNLL-2003, to posts, WNUT-17.

All methods share the encoder, which stays frozen, the head and its rates, and are tested on
WNUT-17's test sentences. Types of entities are mapped by a file onto the three that both have:
person, location and group (CoNLL's ORG; WNUT's corporation and group). What else is an entity in
one of them, MISC, product and creative-work, counts as no entity anywhere.

Source-only trains on CoNLL's training sentences with their tags; CORAL and DANN see WNUT's training
sentences beside them, without their tags; target-trained sees those alone, with their tags.
Source-only and target-trained keep the epoch of the best loss on the validation sentences of what
they train on; CORAL and DANN keep their last. The papers report no figures for these data.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import tempfile
from collections.abc import Mapping
from pathlib import Path

from benchmarks.resumable import Measurements, mean_and_deviation
from benchmarks.table import ROOT, data_dir, print_heading, print_table
from tfhub_transfer.config import (
    AdaptationConfig,
    Config,
    DataConfig,
    EncoderConfig,
    EvaluationConfig,
    HeadConfig,
    TrainingConfig,
)
from tfhub_transfer.data.label_map import SIDES, read_type_map
from tfhub_transfer.data.tagged import load_tagged
from tfhub_transfer.evaluation.experiment import run_experiment
from tfhub_transfer.evaluation.scoring import score_run
from tfhub_transfer.task_config import TaggingConfig

METHODS = ("source-only", "CORAL", "DANN", "target-trained")
DATA = dict(zip(SIDES, ("ner/conll2003", "ner/wnut17"), strict=True))
TYPES = """
source: {PER: person, LOC: location, ORG: group, MISC: O}
target: {person: person, location: location, group: group, corporation: group,
         product: O, creative-work: O}
"""
QUICK = {"encoder": "minilm-static", "recurrent": 20, "epochs": 8, "seeds": 1, "limit": 600}
QUICK |= {"learning_rate": 0.01}  # in so few steps a lower one finds no entity at all

Scores = dict[str, float]
"""Entity F1 on the test sentences of `source` and of `target`."""


def main() -> None:
    """Train what is missing and print the table."""
    arguments = argparse.ArgumentParser(
        prog="python -m benchmarks.adaptation_tagging", description=__doc__
    )
    arguments.add_argument(
        "--encoder", default="minilm-l6", help="its name, as encoders list gives it"
    )
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument(
        "--recurrent", type=int, default=200, help="units of the LSTM, in each direction"
    )
    arguments.add_argument("--epochs", type=int, default=20)
    arguments.add_argument("--learning_rate", type=float, default=1e-3)
    arguments.add_argument("--limit", type=int, help="sentences of each split, at most")
    arguments.add_argument("--dann", type=float, default=0.1, help="adaptation.weight of DANN")
    arguments.add_argument("--coral", type=float, default=1.0, help="adaptation.weight of CORAL")
    arguments.add_argument("--quick", action="store_true", help="a short try, of no meaning")
    arguments.add_argument("--state", type=Path, help="the file of finished measurements")
    chosen = arguments.parse_args()
    if chosen.quick:
        vars(chosen).update(QUICK)
    name = "adaptation_tagging_quick.json" if chosen.quick else "adaptation_tagging.json"
    state = chosen.state or ROOT / "runs" / "benchmarks" / name
    shared = ("encoder", "recurrent", "epochs", "learning_rate", "limit", "dann", "coral")
    kept = Measurements(state, {key: getattr(chosen, key) for key in shared})
    found: dict[str, list[Scores]] = {method: [] for method in METHODS}
    for seed in range(chosen.seeds):
        for method in METHODS:
            scores = kept.get(
                f"{method}, seed {seed}", lambda m=method, s=seed: _measured(m, s, chosen)
            )
            found[method].append(scores)
    print_heading("Domain adaptation of taggers: CoNLL-2003 to WNUT-17")
    print(f"{__doc__}\n".split("\n\n", 1)[1])
    print(
        f"Encoder {chosen.encoder}, frozen; an LSTM of {chosen.recurrent} units each way and a "
        f"CRF, {chosen.epochs} epochs at a rate of {chosen.learning_rate:g}, adaptation.weight "
        f"{chosen.dann:g} for DANN and {chosen.coral:g} for CORAL"
        + (f", at most {chosen.limit} sentences of each split" if chosen.limit else "")
        + f". Entity F1 on the test sentences, mean and deviation of {chosen.seeds} seeds.\n"
    )
    print_table(
        ["Method", "WNUT-17", "CoNLL-2003", "WNUT-17 against source-only, points"],
        [_row(method, found) for method in METHODS],
    )


def _row(method: str, found: Mapping[str, list[Scores]]) -> list[str]:
    of_target = [scores["target"] for scores in found[method]]
    gains = [
        100 * (own - scores["target"])
        for own, scores in zip(of_target, found[METHODS[0]], strict=True)
    ]
    return [
        method,
        mean_and_deviation(of_target),
        mean_and_deviation([scores["source"] for scores in found[method]]),
        "" if method == METHODS[0] else f"{statistics.mean(gains):+.2f}",
    ]


def _measured(method: str, seed: int, chosen: argparse.Namespace) -> Scores:
    """Train once, and return entity F1 on either test split."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        types = root / "types.yaml"
        types.write_text(TYPES, encoding="utf-8")
        if method in ("CORAL", "DANN"):
            config = _config(method, data_dir() / DATA["source"], root, seed, chosen)
            told = run_experiment(config).load_metrics()["adaptation"]
            gc.collect()  # layers and functions refer to each other
            return {side: float(told[f"{side}_f1"]) for side in SIDES}
        for side in SIDES:
            _write_mapped(side, types, root / side)
        own, other = SIDES if method == "source-only" else SIDES[::-1]
        run = run_experiment(_config(method, root / own, root, seed, chosen))
        elsewhere = DataConfig(source=str(root / other), limit=chosen.limit)
        _, metrics = score_run(run, elsewhere, bootstrap=10)
        gc.collect()
        return {
            own: float(run.load_metrics()["test"]["f1"]),
            other: float(metrics["test"]["f1"]),
        }


def _write_mapped(side: str, types: Path, folder: Path) -> None:
    """Write the data set of a side under the types that both have, as CORAL and DANN see it."""
    source = DataConfig(source=str(data_dir() / DATA[side]))
    data = load_tagged(source, seed=0, types=read_type_map(str(types), side))
    folder.mkdir()
    for split in ("train", "validation", "test"):
        examples = getattr(data, split)
        sentences = zip(examples.words(), examples.tags.named(data.all_tags), strict=True)
        with (folder / f"{split}.conll").open("w", encoding="utf-8") as file:
            for pair in sentences:
                file.writelines(f"{word}\t{tag}\n" for word, tag in zip(*pair, strict=True))
                file.write("\n")


def _config(
    method: str, source: Path, root: Path, seed: int, chosen: argparse.Namespace
) -> Config:
    strategy = {"CORAL": "coral", "DANN": "dann"}.get(method, "feature_extraction")
    asked = AdaptationConfig()
    if strategy != "feature_extraction":
        asked = AdaptationConfig(
            target=str(data_dir() / DATA["target"]),
            weight=chosen.coral if method == "CORAL" else chosen.dann,
            labels=str(root / "types.yaml"),
        )
    return Config(
        task="tagging",
        run=str(root / "run"),
        seed=seed,
        data=DataConfig(source=str(source), limit=chosen.limit),
        encoder=EncoderConfig(chosen.encoder, offline=True),
        head=HeadConfig(dropout=0.5),
        tagging=TaggingConfig(recurrent=chosen.recurrent, crf=True),
        training=TrainingConfig(
            strategy=strategy,
            epochs=chosen.epochs,
            learning_rate=chosen.learning_rate,
            # as many labelled sentences a step in all methods: half of these batches has no tags
            batch_size=32 if strategy == "feature_extraction" else 64,
        ),
        adaptation=asked,
        evaluation=EvaluationConfig(baselines=(), bootstrap=10),
    )


if __name__ == "__main__":
    main()
