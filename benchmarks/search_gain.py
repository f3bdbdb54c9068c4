"""Does a search help where it counts? The best settings against the defaults, on test rows.

40 Bayesian trials of the default space on minilm-static, frozen, chosen by the validation log loss;
then the best settings and the defaults, each with 5 seeds. `tune` does all of it, and its
`metrics.json` is what the table shows.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any

from benchmarks.resumable import Measurements, mean_and_deviation
from benchmarks.table import ROOT, data_dir, print_heading, print_table, reached
from tfhub_transfer.config import DataConfig, EncoderConfig, EvaluationConfig
from tfhub_transfer.evaluation.search.running import search
from tfhub_transfer.training.search_settings import SearchConfig, TuneConfig

DATA = ("banking77", "trec", "ag_news")


def main() -> None:
    """Measure what is missing and print the table."""
    arguments = argparse.ArgumentParser(
        prog="python -m benchmarks.search_gain", description=__doc__
    )
    arguments.add_argument("data", nargs="*", help=f"of {', '.join(DATA)}; all by default")
    arguments.add_argument("--trials", type=int, default=40)
    arguments.add_argument("--seeds", type=int, default=5)
    arguments.add_argument("--encoder", default="minilm-static")
    arguments.add_argument("--limit", type=int, help="rows of each split at most, to try it out")
    folder = ROOT / "runs" / "benchmarks" / "search_gain"
    arguments.add_argument("--state", type=Path, default=folder / "state.json")
    chosen = arguments.parse_args()
    settings = {key: getattr(chosen, key) for key in ("trials", "seeds", "encoder", "limit")}
    kept = Measurements(chosen.state, settings)
    rows = []
    for name in chosen.data or DATA:
        told = kept.get(name, lambda n=name: _searched(n, chosen))
        rows.append(_row(name, told))
    print_heading(f"The best of {chosen.trials} trials against the defaults, {chosen.seeds} seeds")
    print(f"{__doc__}\n".split("\n\n", 1)[1])
    print_table(
        ["Data", "Defaults, test accuracy", "Best settings", "Difference, points (95%)",
         "Search, s", "Not lower beyond one deviation", "Best settings are"],
        rows,
    )  # fmt: skip


def _searched(name: str, chosen: argparse.Namespace) -> dict[str, Any]:
    folder = chosen.state.parent / name
    text = data_dir() / "text" / name
    data = {
        "banking77": {"source": str(text), "label_column": "category"},
        "trec": {"source": str(text)},
        "ag_news": {"source": str(text)},
    }[name]
    resume = (folder / "search" / "search.yaml").exists()
    run = search(
        TuneConfig(
            run=str(folder),
            resume=resume,
            data=DataConfig(**data, limit=chosen.limit),
            encoder=EncoderConfig(chosen.encoder, offline=True),
            evaluation=EvaluationConfig(baselines=(), bootstrap=100),
            search=SearchConfig(trials=chosen.trials, seeds=chosen.seeds),
        )
    )
    told: dict[str, Any] = run.load_metrics()["search"]
    return told


def _row(name: str, told: dict[str, Any]) -> list[str]:
    ours = told["test_accuracy"]["values"]
    given = told["as_given"]["values"] if told["as_given"] else ours
    deviation = statistics.stdev(given) if len(given) > 1 else 0.0
    found = told["difference"] or {"mean": 0.0, "low": 0.0, "high": 0.0}
    points, low, high = (100 * found[key] for key in ("mean", "low", "high"))
    return [
        name,
        mean_and_deviation(given),
        mean_and_deviation(ours),
        f"{points:+.1f} ({low:+.1f} to {high:+.1f})",
        f"{told['seconds']['trials']:.0f}",
        reached(statistics.mean(ours) >= statistics.mean(given) - deviation),
        ", ".join(f"{key} {_short(value)}" for key, value in told["settings"].items()),
    ]


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
