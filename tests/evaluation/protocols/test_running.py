"""A protocol that is killed, goes on, and ends in a table."""

from __future__ import annotations

import csv
import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tests.encoders import tiny
from tests.processes import killed
from tfhub_transfer import cli, evaluate
from tfhub_transfer.errors import RunError
from tfhub_transfer.evaluation.experiment import run_experiment
from tfhub_transfer.evaluation.protocols import running
from tfhub_transfer.evaluation.protocols.listing import is_finished
from tfhub_transfer.evaluation.protocols.protocol_file import read_protocol
from tfhub_transfer.evaluation.protocols.running import run_protocol
from tfhub_transfer.evaluation.protocols.significance import compare
from tfhub_transfer.runs import Run

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_report")]

CONTENT: dict[str, Any] = {
    "data": ["sample"],
    "strategies": [
        {"name": "probe", "training.strategy": "feature_extraction", "training.epochs": 2},
        # many short epochs, so that the kill falls between two
        {"name": "tuned", "training.strategy": "fine_tuning", "training.epochs": 6,
         "training.patience": 6},
    ],
    "shots": [8],
    "seeds": [0, 1],
    "baselines": ["tfidf_logreg", "linear_probe"],
    "compare": "tfidf_logreg",
    "settings": {"evaluation.bootstrap": 10, "head.hidden": [8], "training.batch_size": 4},
}  # fmt: skip
TUNED, PROBE = (Path("sample/8-shots/tiny", name, "seed-0") for name in ("tuned", "probe"))


def written(folder: Path, **changes: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "protocol.yaml"
    encoder = {"name": "tiny", "encoder.name": str(_encoder(folder.parent / "protocol-encoder"))}
    file.write_text(
        yaml.safe_dump({**CONTENT, "encoders": [encoder], **changes}), encoding="utf-8"
    )
    return file


@functools.cache
def _encoder(folder: Path) -> Path:
    return tiny.write_text_embedding(folder)


def losses(run: Run) -> list[list[str]]:
    """The history but for its last column, the seconds."""
    return [line.split(",")[:-1] for line in run.history_file.read_text().splitlines()]


@functools.cache
def _killed(root: Path) -> tuple[Path, Path, dict[Path, int]]:
    """Kill a protocol in the middle; return file, output, and what was finished by then."""
    file, output = written(root / "killed"), root / "killed" / "out"
    begun = output / TUNED / "checkpoints" / "last.safetensors"
    killed("evaluate", "--protocol", file, "--output", output, when=begun.exists)
    finished = {path: path.stat().st_mtime_ns for path in output.rglob("metrics.json")}
    return file, output, finished


@functools.cache
def _finished(root: Path) -> Path:
    file, output, _ = _killed(root)
    assert evaluate.main(["--protocol", str(file), "--output", str(output)]) == 0
    return output


@pytest.fixture
def root(tmp_path_factory) -> Path:
    return tmp_path_factory.getbasetemp()


@pytest.fixture
def finished(root) -> Path:
    return _finished(root)


@pytest.mark.timeout(300)  # two processes start, and the machine may be busy
def test_a_kill_loses_an_epoch_at_most(root, tmp_path, capsys):
    file, output, before = _killed(root)
    assert (output / PROBE / "metrics.json") in before
    assert (output / TUNED / "metrics.json") not in before
    assert evaluate.main(["--protocol", str(file), "--dry-run", "--output", str(output)]) == 0
    assert "3 are finished, 1 begun" in capsys.readouterr().out

    finished = _finished(root)
    assert "8 of 8 cells" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in before} == before
    (cell,) = [cell for cell in read_protocol(file).cells() if cell.path == TUNED]
    assert is_finished(cell, finished)
    straight = run_experiment(dataclasses.replace(cell.config, run=str(tmp_path / "straight")))
    resumed = Run(finished / TUNED)
    assert losses(resumed) == losses(straight)
    assert resumed.load_metrics()["test"] == straight.load_metrics()["test"]


def test_a_finished_protocol_is_not_repeated(root, finished, capsys):
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*/metrics.json")}
    file, *_ = _killed(root)
    assert evaluate.main(["--protocol", str(file), "--output", str(finished)]) == 0
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*/metrics.json")} == before
    captured = capsys.readouterr()
    assert "8 of 8 cells are finished already" in captured.err
    assert "tuned, tiny" in captured.out


def test_the_table_is_what_the_runs_say(finished):
    with (finished / "table.csv").open(encoding="utf-8", newline="") as lines:
        rows = {row["method"]: row for row in csv.DictReader(lines)}
    assert list(rows) == ["tfidf_logreg", "linear_probe", "probe", "tuned"]
    homes = {
        method: [finished / "sample/8-shots" / encoder / method / f"seed-{n}" for n in (0, 1)]
        for method, encoder in {
            "tfidf_logreg": "no-encoder", "linear_probe": "tiny",
            "probe": "tiny", "tuned": "tiny",
        }.items()
    }  # fmt: skip
    right = {}
    for method, paths in homes.items():
        right[method] = []
        for path in paths:
            with np.load(path / "predictions.npz") as arrays:
                predicted = arrays["test_probabilities"].argmax(axis=1)
                right[method].append(predicted == arrays["test_targets"])
        accuracies = [seed.mean() for seed in right[method]]
        assert float(rows[method]["accuracy"]) == pytest.approx(np.mean(accuracies))
        assert float(rows[method]["accuracy_sd"]) == pytest.approx(np.std(accuracies, ddof=1))
        assert rows[method]["seeds"] == "2"
        assert rows[method]["train_rows"] == "24.0"
    expected = compare(right["tuned"], right["tfidf_logreg"], same_rows=True)
    assert float(rows["tuned"]["p_uncorrected"]) == pytest.approx(expected.p)
    assert float(rows["tuned"]["difference_low"]) == pytest.approx(expected.low)
    assert float(rows["tuned"]["p"]) >= expected.p
    assert rows["tfidf_logreg"]["p"] == ""
    assert float(rows["tuned"]["texts_per_s"]) > 100
    assert float(rows["tfidf_logreg"]["texts_per_s"]) > 100


def test_the_table_in_its_other_forms(finished):
    lines = (finished / "table.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 2 + 4
    assert len({line.count("|") for line in lines}) == 1
    assert lines[2].startswith("| sample | 8 |  | TF-IDF + log. regression | 2 | 0.")
    page = (finished / "report.html").read_text(encoding="utf-8")
    assert "accuracy against speed" in page
    assert "<svg" in page
    assert "src=" not in page
    assert "http" not in page.replace("http://www.w3.org", "")
    assert "python -m tfhub_transfer.evaluate --protocol" in page
    assert (finished / "plots" / "sample-speed.png").exists()


def test_one_failure_does_not_stop_the_others(tmp_path, capsys):
    strategies = [
        {"name": "broken", "encoder.name": "no/such/encoder"},
        {"name": "probe", "training.epochs": 1},
    ]
    file = written(tmp_path, strategies=strategies, seeds=[0], baselines=[], compare="probe")
    flags = ["--protocol", str(file), "--output", str(tmp_path / "out")]
    assert evaluate.main(flags) == cli.FAILED
    captured = capsys.readouterr()
    assert "2 of 2 cells" in captured.err
    assert "broken/seed-0: EncoderError: " in captured.out
    (failure,) = json.loads((tmp_path / "out" / "errors.json").read_text()).values()
    assert "Traceback" in failure["traceback"]
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "broken/seed-0 failed: EncoderError" in page
    assert len((tmp_path / "out" / "table.csv").read_text().splitlines()) == 2


def test_runs_of_other_settings_are_not_written_over(root, finished, tmp_path, capsys):
    file = written(tmp_path, settings={**CONTENT["settings"], "head.dropout": 0.5})
    assert evaluate.main(["--protocol", str(file), "--dry-run", "--output", str(finished)]) == 0
    told = capsys.readouterr().out
    assert "(head.dropout was 0.3, received 0.5)" in told
    assert "4 are finished" in told  # the baselines
    with pytest.raises(RunError, match=r"other settings.*head\.dropout was 0\.3, received 0\.5"):
        run_protocol(read_protocol(file), finished, command="")


def test_interrupted_runs_end_the_protocol_with_what_there_is(tmp_path, monkeypatch):
    def interrupted(config):
        raise KeyboardInterrupt

    monkeypatch.setattr(running, "run_experiment", interrupted)
    file = written(tmp_path, baselines=["majority"], compare="majority")
    flags = ["--protocol", str(file), "--output", str(tmp_path / "out")]
    assert cli.guarded(lambda: evaluate.main(flags)) == cli.INTERRUPTED
    assert "majority" in (tmp_path / "out" / "table.csv").read_text()
