"""The table and the page of rows that are made up."""

from __future__ import annotations

import csv
import dataclasses
import io
from pathlib import Path

import pytest

from tfhub_transfer.evaluation.protocols import plots
from tfhub_transfer.evaluation.protocols.grid import Entry, Protocol
from tfhub_transfer.evaluation.protocols.page import Result, print_result, write_result
from tfhub_transfer.evaluation.protocols.significance import Difference
from tfhub_transfer.evaluation.protocols.table import Row, as_csv, as_markdown
from tfhub_transfer.runs import Run


def row(method: str, shots: int | None, accuracy: float, **changes: object) -> Row:
    made = Row(
        data="shop",
        shots=shots,
        encoder=None if method == "majority" else "minilm|static",
        method=method,
        is_baseline=method == "majority",
        seeds=3,
        accuracy=accuracy,
        accuracy_sd=0.02,
        macro_f1=accuracy / 2,
        macro_f1_sd=None,
        train_rows=2.0 * (shots or 500),
        test_rows=100.0,
        encode_s=1.25,
        train_s=2.5,
        texts_per_s=None if method == "majority" else 12345.6,
    )
    return dataclasses.replace(made, **changes)


ROWS = (
    row("majority", 8, 0.5),
    row("<tuned>", 8, 0.75, difference=Difference(0.25, 0.2, 0.3, 0.0001), p=0.0002,
        compared_with="majority"),
    row("majority", None, 0.5),
    row("<tuned>", None, 0.8, difference=Difference(0.3, -0.1, 0.7, 0.2), p=0.2,
        compared_with="majority"),
)  # fmt: skip
PROTOCOL = Protocol(
    title="some shop",
    data=(Entry("shop"), Entry("not-run-yet")),
    encoders=(Entry("minilm-static"),),
    strategies=(Entry("tuned", {"training.epochs": 3}),),
    shots=(8, None),
    baselines=("majority",),
    compare="majority",
)


def test_markdown_marks_what_is_more_than_chance():
    lines = as_markdown(ROWS).splitlines()
    assert lines[3] == (
        r"| shop | 8 | minilm\|static | <tuned> | 3 | 0.750 ± 0.020 | **+25.0 (+20.0 to +30.0)** "
        "| < 0.001 | 0.375 | 1.2 | 2.5 | 12,346 |"
    )
    assert "| +30.0 (-10.0 to +70.0) | 0.200 |" in lines[5]
    assert lines[2].startswith("| shop | 8 |  | Majority class | 3 |")


def test_csv_has_every_number_unrounded():
    first, second, *_ = csv.DictReader(io.StringIO(as_csv(ROWS)))
    assert first["shots"] == "8"
    assert first["p"] == first["difference_mean"] == first["texts_per_s"] == ""
    assert (second["difference_low"], second["p_uncorrected"]) == ("0.2", "0.0001")
    assert second["texts_per_s"] == "12345.6"


def test_the_page_needs_no_other_file_and_trusts_no_name(tmp_path, capsys):
    result = Result(PROTOCOL, ROWS, {"shop/all/x": "DataError: <b>"}, "python -m x")
    write_result(result, Run(tmp_path))
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "&lt;tuned&gt;" in page
    assert "<tuned>" not in page
    assert "shop/all/x failed: DataError: &lt;b&gt;" in page
    assert page.count("<svg") == 2
    assert "training.epochs: 3" in page
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {
        "shop-examples.png", "shop-speed.png",
    }  # fmt: skip
    print_result(result, Path("out"))
    printed = capsys.readouterr().out
    assert "+25.0" in printed
    assert "report: out/report.html" in printed


@pytest.mark.parametrize("draw", [plots.accuracy_by_examples, plots.accuracy_by_speed])
def test_figures_are_labelled(draw):
    figure = draw(ROWS)
    (axes,) = figure.axes
    assert axes.get_title(loc="left").startswith("shop: accuracy against")
    assert axes.get_xlabel()
    assert axes.get_ylabel() == "Test accuracy"
    names = {text.get_text() for legend in figure.legends for text in legend.get_texts()}
    assert "<tuned>, minilm|static" in names
    assert ("Majority class" in names) == (draw is plots.accuracy_by_examples)


def test_nothing_finished_is_an_empty_table(tmp_path):
    write_result(Result(PROTOCOL, (), {}, "x"), Run(tmp_path))
    assert len((tmp_path / "table.csv").read_text().splitlines()) == 1
    assert (tmp_path / "report.html").exists()
