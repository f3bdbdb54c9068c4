"""A configuration and a space -> trials, the best of them retrained, and a report of it all."""

from __future__ import annotations

import dataclasses
import functools
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tfhub_transfer.errors import ConfigError, TrainingError
from tfhub_transfer.evaluation.search.directory import begin_search, check_rows, open_search
from tfhub_transfer.evaluation.search.distributed import collected, lead
from tfhub_transfer.evaluation.search.importance import importances
from tfhub_transfer.evaluation.search.page import SearchReport, few_rows, write_search_report
from tfhub_transfer.evaluation.search.result import TrialResult
from tfhub_transfer.evaluation.search.retraining import Retrained, difference, retrain
from tfhub_transfer.evaluation.search.trial import TrialRunner, digest_of
from tfhub_transfer.evaluation.search.trials import TrialRow, as_csv, best_of, ranked, rows_of
from tfhub_transfer.evaluation.tracing import quiet_tracing
from tfhub_transfer.progress import Advance, progress
from tfhub_transfer.runs import Run
from tfhub_transfer.training.search import Drawn, SearchTuner
from tfhub_transfer.training.search_oracles import Budget, LastingOracle, make_oracle
from tfhub_transfer.training.search_settings import TuneConfig
from tfhub_transfer.training.search_space import Space

__all__ = ["search"]


def search(config: TuneConfig) -> Run:
    """Search for settings, and train the best; the whole of `python -m tfhub_transfer.tune`.

    Args:
        config: of the run, and how to search.

    Returns:
        The run of the best settings with the first seed; its metrics have a key `search`, and its
        folder `search` the report of the search.

    Raises:
        TransferError: whatever the parts raise on purpose; what ends one trial alone does not.
        KeyboardInterrupt: Ctrl-C; finished trials are kept for `resume`.
    """
    if config.distributed == "worker":
        raise ConfigError(
            "A worker runs trials of another process's search: use "
            "tfhub_transfer.evaluation.search.distributed.work. Accepted here: distributed None "
            "or 'chief'. Received: 'worker'"
        )
    space = config.space()
    run, home = open_search(config)
    with home.lock(), quiet_tracing():
        oracle = make_oracle(config, space)
        runner = TrialRunner(space, oracle.budget)
        # before anything is written: a mistyped column costs no search that is there
        data = runner.prepare()
        digest = digest_of(data)
        if config.resume:
            check_rows(home, digest)
        begin_search(config, run, home, digest)
        for warning in filter(None, (few_rows(len(data.validation)), space.note)):
            print(f"warning: {warning}", file=sys.stderr)
        write = functools.partial(_write, config, space, home, len(data.validation))
        try:
            rows, spent = _run_trials(config, space, oracle, runner, home, write)
            best = _best(rows, config)
            for checkpoints in home.path.glob("trials/trial_*/checkpoints"):
                shutil.rmtree(checkpoints)
            summary = _retrained(config, space, run, home, rows, best)
            summary["seconds"] |= _cost(rows, spent)
            run.write_json("metrics.json", {**run.load_metrics(), "search": summary})
            write(rows, spent, summary)
        except KeyboardInterrupt:
            print(
                f"finished trials are kept: the same command with --resume goes on in {run.path}",
                file=sys.stderr,
            )
            raise
    return run


def _run_trials(
    config: TuneConfig,
    space: Space,
    oracle: LastingOracle,
    runner: TrialRunner,
    home: Run,
    write: Callable[..., None],
) -> tuple[list[TrialRow], float]:
    """Run what is missing of the trials; return all of them, and the seconds that they took."""
    told = _Told(config, oracle)

    def run(drawn: Drawn) -> Mapping[str, float]:
        try:
            return runner(drawn) if config.distributed is None else collected(drawn)
        finally:
            if result := TrialResult.load(drawn.directory):
                told.tell(drawn.number, result)

    oracle.budget = Budget(config.search.seconds)
    tuner = SearchTuner(oracle, space, run, home.path / "trials")
    runner.budget = oracle.budget
    for number in oracle.trials:
        if result := TrialResult.load(tuner.directory_of(number)):
            runner.remember(number, result)
            told.take_in(number, result)
    total = None if config.search.tuner == "hyperband" else config.search.trials
    if space.combinations is not None and total is not None:
        total = min(total, space.combinations)
    told.total = total
    try:
        with progress("Trials", "trials", total) as told.advance:
            told.advance(told.done)
            if config.distributed is None:
                tuner.search()
            else:
                lead(config, tuner, home, told.tell_workers)
    finally:
        rows, spent = rows_of(tuner, space), oracle.budget.spent
        write(rows, spent)
    return rows, spent


def _best(rows: list[TrialRow], config: TuneConfig) -> TrialRow:
    best = best_of(rows, config.search.objective)
    if best is None:
        errors = list(dict.fromkeys(row.result.error for row in rows if row.result.error))
        raise TrainingError(
            f"None of the trials came to anything. Accepted: a space of which some can be trained. "
            f"Received: {len(rows)} failures, among them {' | '.join(errors[:3]) or 'none told'}"
        )
    return best


def _retrained(
    config: TuneConfig, space: Space, run: Run, home: Run, rows: list[TrialRow], best: TrialRow
) -> dict[str, Any]:
    """Retrain the best settings, and those that were given; return what `metrics.json` says."""
    start, seeds = time.monotonic(), config.search.seeds
    chosen, changed = space.applied(best.result.settings)
    given = config.of_run()
    same = chosen == given
    with progress("Retraining the best settings", "runs", seeds) as advance:
        directories = [run.path, *(home.path / "seeds" / str(n) for n in range(1, seeds))]
        ours = retrain(chosen, directories, advance, baselines=True)
    theirs: Retrained | None = None
    failed = None
    if config.search.compare and not same:
        with progress("Training the configuration as given", "runs", seeds) as advance:
            directories = [home.path / "as_given" / str(n) for n in range(seeds)]
            try:
                theirs = retrain(given, directories, advance, baselines=False)
            except TrainingError as error:  # which may be why one searches
                failed = str(error)
    statuses = [row.status for row in rows]
    return {
        "tuner": config.search.tuner,
        "objective": config.search.objective,
        "trials": len(rows),
        "finished": statuses.count("finished"),
        "failed": statuses.count("failed"),
        "best_trial": best.number,
        "best_score": best.score,
        "settings": dict(changed),
        "as_given_is_best": same,
        "seeds": [config.seed + number for number in range(seeds)],
        "test_accuracy": ours.to_dict(),
        "as_given": theirs.to_dict() if theirs else None,
        "as_given_failed": failed,
        "difference": dataclasses.asdict(difference(ours, theirs)) if theirs else None,
        "seconds": {"retraining": round(time.monotonic() - start, 3)},
    }


def _cost(rows: list[TrialRow], spent: float) -> dict[str, float]:
    """Return the seconds of all trials by what they went into."""
    encode, train = (
        sum(row.result.seconds.get(name, 0.0) for row in rows) for name in ("encode", "train")
    )
    parts = {"trials": spent, "encode": encode, "train": train}
    # several workers take more seconds than pass
    taken = max(spent, sum(row.result.seconds.get("total", 0.0) for row in rows))
    parts["other"] = max(0.0, taken - encode - train)
    return {name: round(seconds, 3) for name, seconds in parts.items()}


def _write(
    config: TuneConfig,
    space: Space,
    home: Run,
    validation_rows: int,
    rows: list[TrialRow],
    spent: float,
    summary: Mapping[str, Any] | None = None,
) -> None:
    """Write the table and the report of what there is."""
    home.write_text("trials.csv", as_csv(rows))
    write_search_report(
        home,
        SearchReport(
            config=config,
            space=space,
            validation_rows=validation_rows,
            rows=rows,
            best=best_of(rows, config.search.objective),
            importance=importances(rows, space),
            cost=_cost(rows, spent),
            summary=summary,
        ),
    )


class _Told:
    """Tells how far a search is: a line for each trial, and the best so far in the bar."""

    advance: Advance

    def __init__(self, config: TuneConfig, oracle: LastingOracle):
        self._objective, self._oracle = config.search.objective, oracle
        self._results: dict[str, TrialResult] = {}
        self.total: int | None = None
        self._workers: int | None = None
        self._so_far = "none finished yet"

    @property
    def done(self) -> int:
        """How many trials have ended."""
        return len(self._results)

    def take_in(self, number: str, result: TrialResult) -> None:
        """Count a trial."""
        self._results[number] = result

    def tell(self, number: str, result: TrialResult) -> None:
        """Count a trial, and say what it came to."""
        units = 0 if number in self._results else 1  # killed before the oracle had kept it
        self.take_in(number, result)
        count = f"{self.done} of {self.total}" if self.total else f"{self.done}"
        scores = {
            key: one.scores[self._objective] for key, one in self._results.items() if one.scores
        }
        for best in ranked(scores, self._objective, scores.get)[:1]:
            self._so_far = f"best {scores[best]:.4f} in trial {best}"
        line = f"{count} trials, trial {number}: {result.told()}; {self._so_far}"
        print(f"{line}{self._left()}", file=sys.stderr, flush=True)
        self.advance(units, self._now())

    def tell_workers(self, workers: int, what: str) -> None:
        """Say what happened to a worker, and how many there are."""
        self._workers = workers
        print(f"{what}; {self._at_work()}", file=sys.stderr, flush=True)
        self.advance(0, self._now())

    def _now(self) -> str:
        at_work = "" if self._workers is None else f", {self._at_work()}"
        return f"Trials, {self._so_far}{at_work}"

    def _at_work(self) -> str:
        return f"{self._workers} worker{'' if self._workers == 1 else 's'}"

    def _left(self) -> str:
        """Return how long the rest may take."""
        left = self._oracle.budget.deadline - time.monotonic()
        if self.total:
            mean = float(np.mean([one.seconds["total"] for one in self._results.values()]))
            left = min(left, mean * (self.total - self.done) / max(1, self._workers or 1))
        return f"; about {_duration(max(left, 0.0))} left" if np.isfinite(left) else ""


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
