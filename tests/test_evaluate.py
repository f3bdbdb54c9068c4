"""`python -m tfhub_transfer.evaluate`, in this process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import trained
from tfhub_transfer import cli, evaluate


@pytest.fixture
def run(tmp_path, tmp_path_factory) -> Path:
    made = trained.sample_run(tmp_path_factory.getbasetemp())
    return trained.copied(made, tmp_path / "run").path


def test_its_own_test_split(run, capsys):
    assert evaluate.main(["--run", str(run), "--bootstrap", "50"]) == 0
    out = capsys.readouterr().out
    accuracy = json.loads((run / "metrics.json").read_text())["test"]["accuracy"]
    assert f"{accuracy:.3f}" in out
    report = run / "evaluations" / "own-test-split" / "report.html"
    assert f"report: {report}" in out
    assert report.exists()


def test_another_data_set_and_what_was_rejected(run, tmp_path, capsys):
    source = tmp_path / "x.csv"
    source.write_text("review,stars\nFine.,positive\nAwful.,negative\nHm.,two\n")
    flags = ["--run", str(run), "--data.source", str(source), "--data.text_column", "review",
             "--data.label_column", "stars", "--output", str(tmp_path / "out"),
             "--bootstrap", "10"]  # fmt: skip
    assert evaluate.main(flags) == 0
    assert "note: 1 row was rejected: label unseen in training." in capsys.readouterr().out
    assert json.loads((tmp_path / "out" / "rejected.jsonl").read_text())["row"] == 3
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["test"]["n"] == 2


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--run", "no-such-run"], "error: Not a run directory"),
        (["--run", "RUN", "--data.source", "none.csv"], "error: No such file or folder"),
        (["--run", "RUN", "--data.limit", "0"], "error: data.limit must be at least 1"),
    ],
)
def test_an_error_is_one_line(run, capsys, flags, text):
    flags = [str(run) if flag == "RUN" else flag for flag in flags]
    assert cli.guarded(lambda: evaluate.main(flags)) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(text)
    assert printed.err.count("\n") == 1
