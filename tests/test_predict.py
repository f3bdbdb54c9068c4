"""`python -m tfhub_transfer.predict`, in this process."""

from __future__ import annotations

import io
import json
import sys

import pytest

from tests import trained
from tfhub_transfer import cli, predict


@pytest.fixture
def run(tmp_path_factory) -> str:
    return str(trained.sample_run(tmp_path_factory.getbasetemp()).path)


def test_lines_in_records_out(run, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"Simply wonderful.\n")))
    assert predict.main(["--run", run]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["text"] == "Simply wonderful."
    assert record["label"] in ("negative", "neutral", "positive")


def test_every_flag_arrives(run, tmp_path, capsys):
    source = tmp_path / "in.data"
    source.write_text("body\tid\nfine\t1\n")
    flags = ["--run", run, "--input", str(source), "--input_format", "tsv", "--batch_size", "1",
             "--text_column", "body", "--output", str(tmp_path / "out"),
             "--output_format", "csv"]  # fmt: skip
    assert predict.main(flags) == 0
    assert (tmp_path / "out").read_text().startswith("body,id,label,score\nfine,1,")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--run", "no-such-run"], "error: Not a run directory"),
        (["--run", "RUN", "--input", "none.csv"], "error: No such file. Received: none.csv"),
        (["--run", "RUN", "--batch_size", "0"], "error: batch_size must be at least 1"),
    ],
)
def test_an_error_is_one_line(run, capsys, flags, text):
    flags = [run if flag == "RUN" else flag for flag in flags]
    assert cli.guarded(lambda: predict.main(flags)) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(text)
    assert printed.err.count("\n") == 1


def test_a_wrong_flag(capsys):
    with pytest.raises(SystemExit) as end:
        predict.main(["--run", "r", "--outptu", "x"])
    assert end.value.code == 2
    assert "Did you mean '--output'?" in capsys.readouterr().err
