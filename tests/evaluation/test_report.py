"""The report for few and many classes, whole and with most of it missing."""

import dataclasses
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from rich.console import Console

from tfhub_transfer.evaluation import page as module
from tfhub_transfer.evaluation.metrics import classification_metrics
from tfhub_transfer.evaluation.report import (
    Report,
    most_confident_mistakes,
    most_confused,
    result_table,
    write_report,
)
from tfhub_transfer.runs import Run

pytestmark = pytest.mark.slow

HOSTILE = "<script>alert('text')</script> & $x$"
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Collects what the tests ask about, and checks that elements nest."""

    def __init__(self, source):
        super().__init__()
        self.loads, self.ids, self.links, self.texts = [], [], [], []
        self.tags, self._open = [], []
        self.feed(source)
        assert self._open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag not in VOID:
            self._open.append(tag)
        for name, value in attributes:
            if name == "id":
                self.ids.append(value)
            if tag == "a" and name == "href":
                self.links.append(value)
            elif name in ("src", "srcset", "href", "xlink:href", "action", "data", "poster"):
                self.loads.append(value)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def made(classes, *, rows=240, multi_label=False, labels=None):
    generator = np.random.default_rng(classes)
    labels = labels or [f"class_{index}" for index in range(classes)]
    probabilities = generator.dirichlet(np.full(classes, 0.3), size=rows)
    targets = np.where(
        generator.random(rows) < 0.7,
        probabilities.argmax(axis=1),
        generator.integers(classes, size=rows),
    )
    if multi_label:
        targets = np.eye(classes, dtype=np.uint8)[targets]
    metrics = classification_metrics(targets, probabilities, labels, bootstrap=20)
    baseline = {**metrics, "accuracy": 0.5, "ci95": {"accuracy": [0.4, 0.6]}, "n_train": 900}
    split = {
        "n": 900,
        "class_counts": {label: 5 + index for index, label in enumerate(labels)},
        "words": {"p5": 2, "p50": 9.5, "p95": 30, "max": 1200},
    }
    return Report(
        title="Trial <1>",
        labels=labels,
        targets=targets,
        probabilities=probabilities,
        metrics={"encoder": "tiny", "test": metrics},
        baselines={"majority": baseline, "tfidf_logreg": baseline},
        config={"task": "classification", "head": {"hidden": (8,)}},
        history=[
            {"epoch": 1, "loss": 1.0, "val_loss": 1.1, "accuracy": 0.5, "val_accuracy": 0.4},
            {"epoch": 2, "loss": 0.5, "val_loss": 0.9, "accuracy": 0.7, "val_accuracy": 0.6},
        ],
        mistakes=most_confident_mistakes(
            lambda rows: [HOSTILE] + ["word " * 200] * (len(rows) - 1),
            targets,
            probabilities,
            labels,
            ids=np.arange(rows),
        ),
        data_summary={
            "splits": {"train": split, "test": {**split, "n": rows}},
            "rejected": {"empty text": 3},
            "duplicates": {"within_train": 7, "train_test": 2, "examples": ["twice"]},
        },
        notes=("A note.",),
        command="python -m tfhub_transfer.train --seed 0",
        environment={"python": "3.11", "packages": {"numpy": "2"}},
        timing={"encode_s": 1.0, "total_s": 12.34},
    )


def written(tmp_path, result):
    run = Run(tmp_path / "run")
    write_report(run, result=result)
    return run, run.report_file.read_text(encoding="utf-8")


@pytest.fixture
def quick(monkeypatch):
    """Skip drawing the PNG files, half of the time, where a test looks at the page only."""
    monkeypatch.setattr(module, "write_png", lambda figure, path: path.touch())


@pytest.mark.parametrize("classes", [2, 3, 77])
def test_report_stands_alone(tmp_path, classes):
    run, source = written(tmp_path, made(classes))
    page = Page(source)

    assert all(value.startswith(("#", "data:")) for value in page.loads), page.loads
    assert not re.search(r"@import|url\((?!#)", source)
    assert not {"script", "link", "iframe", "object", "embed"} & set(page.tags)
    assert len(page.ids) == len(set(page.ids))
    assert {link.removeprefix("#") for link in page.links} <= set(page.ids)
    assert '<html lang="en">' in source
    assert page.tags.count("svg") == 8
    assert sorted(path.stem for path in run.plots.iterdir()) == [
        "class_balance",
        "confusion_matrix",
        "learning_curves",
        "precision_recall",
        "reliability",
        "results",
        "roc",
        "text_lengths",
    ]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in run.plots.iterdir())


def test_report_says_what_it_has(tmp_path, quick):
    _, source = written(tmp_path, made(3))
    text = " ".join(" ".join(Page(source).texts).split())
    for expected in (
        "The encoder (tiny)",
        "TF-IDF + log. regression",
        "Most often confused",
        "in training and test 2",
        "empty text 3",
        "--seed 0",
        "total 12.3 s",
        "A note.",
        "packages numpy 2",
        "Lowest: epoch 2",
        "All 1,000 characters",
    ):
        assert expected in text, expected


def test_stages_are_in_it(tmp_path, quick):
    result = made(3)
    stages = [
        {"name": name, "rows": rows, "epochs": 2, "best_epoch": best, "val_loss": 0.5,
         "val_accuracy": 0.875, "seconds": 1.25}
        for name, rows, best in [("10%", 1234, 2), ("100%", 12340, 3)]
    ]  # fmt: skip
    result = dataclasses.replace(result, metrics={**result.metrics, "stages": stages})
    _, page = written(tmp_path / "staged", result)
    assert '<th scope="row">10%</th><td>1,234</td>' in page
    assert "<td>2</td><td>3</td>" in page
    assert "Stages" in Page(page).texts
    assert "Stages" not in written(tmp_path / "plain", made(3))[1]


def test_it_says_what_was_trained(tmp_path, quick):
    result = made(3)
    told = {"strategy": "fine_tuning", "encoder": "minilm-l6", "best_epoch": 1, "epochs": 2}
    for more, expected in (
        ({}, "Fine tuning of minilm-l6; epoch 1 of 2 is kept"),
        ({"contrastive": {"steps": 1234}}, "of minilm-l6, 1,234 steps on pairs; epoch 1 of 2"),
    ):
        metrics = {**result.metrics, **told, **more}
        _, page = written(tmp_path, dataclasses.replace(result, metrics=metrics))
        text = " ".join(" ".join(Page(page).texts).split())
        assert expected in text
        assert "Kept: epoch 1" in text


def test_texts_are_escaped(tmp_path, quick):
    labels = ["<b>bold</b>", "$money$", "_under"]
    result = made(3, labels=labels)
    _, source = written(tmp_path, result)
    assert "<script>" not in source
    assert "<b>" not in source
    text = "".join(Page(source).texts)
    assert HOSTILE in text
    assert all(label in text for label in labels)


def test_texts_in_any_script_and_half_a_surrogate(tmp_path, quick):
    result = made(2, labels=["好", "بد"])
    mistakes = [{**result.mistakes[0], "text": "half \ud83d"}]
    _, source = written(tmp_path, dataclasses.replace(result, mistakes=mistakes))
    assert "half ?" in source
    assert "好" in source


def test_a_model_without_mistakes(tmp_path, quick):
    result = made(2)
    targets = result.probabilities.argmax(axis=1)
    test = classification_metrics(targets, result.probabilities, result.labels, bootstrap=10)
    perfect = dataclasses.replace(result, targets=targets, metrics={"test": test}, mistakes=[])
    _, source = written(tmp_path, perfect)
    assert "None of the test rows was predicted wrongly" in source


def test_multi_label(tmp_path, quick):
    run, source = written(tmp_path, made(4, multi_label=True))
    assert "any number of them per row" in source
    assert not (run.plots / "confusion_matrix.png").exists()


def test_single_class_in_the_test_set(tmp_path, quick):
    result = made(3)
    targets = np.zeros_like(result.targets)
    test = classification_metrics(targets, result.probabilities, result.labels, bootstrap=10)
    _, source = written(
        tmp_path, dataclasses.replace(result, targets=targets, metrics={"test": test})
    )
    assert "No curve: the test set holds a single class" in source


def test_missing_parts_hide_their_sections(tmp_path, quick):
    whole = made(3)
    least = Report(
        title="Least",
        labels=whole.labels,
        targets=whole.targets,
        probabilities=whole.probabilities,
        metrics=whole.metrics,
    )
    run, source = written(tmp_path, least)
    ids = set(Page(source).ids)
    assert {"result", "classes", "curves", "repeat"} <= ids
    assert not {"learning", "mistakes", "data"} & ids
    assert not (run.plots / "learning_curves.png").exists()
    assert "No baseline was fitted" in source


@pytest.mark.parametrize(
    "summary",
    [
        {"splits": {"train": {"n": 3}}},
        {"splits": {"train": {"class_counts": {"class_0": 3, "class_1": 0}}}},
        {"duplicates": {"train_test": 1}},
        {"rejected": {"empty": 1}},
    ],
)
def test_partial_summaries(tmp_path, quick, summary):
    _, source = written(tmp_path, dataclasses.replace(made(2), data_summary=summary))
    assert 'id="data"' in source


def test_large_figures_become_png(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LARGEST_SVG", 0)
    _, source = written(tmp_path, made(2))
    page = Page(source)
    assert "svg" not in page.tags
    assert all(load.startswith("data:image/png;base64,") for load in page.loads)


def test_most_confident_mistakes():
    targets = np.array([0, 1, 0, 1])
    probabilities = np.array([[0.4, 0.6], [0.9, 0.1], [0.99, 0.01], [0.3, 0.7]])
    asked = []

    def texts_of(rows):
        asked.extend(rows.tolist())
        return [f"text {row}" for row in rows]

    found = most_confident_mistakes(texts_of, targets, probabilities, ["a", "b"], [10, 11, 12, 13])
    assert found == [
        {"id": 11, "text": "text 1", "truth": "b", "predicted": "a", "confidence": 0.9},
        {"id": 10, "text": "text 0", "truth": "a", "predicted": "b", "confidence": 0.6},
    ]
    assert asked == [1, 0]
    assert len(most_confident_mistakes(texts_of, targets, probabilities, "ab", targets, 1)) == 1


def test_most_confident_mistakes_with_several_labels():
    targets = np.array([[1, 1, 0], [0, 0, 0], [0, 0, 1]])
    probabilities = np.array([[0.9, 0.2, 0.3], [0.1, 0.1, 0.1], [0.95, 0.1, 0.9]])
    found = most_confident_mistakes(
        lambda rows: [str(row) for row in rows], targets, probabilities, "abc", ["x", "y", "z"]
    )
    assert [(m["id"], m["truth"], m["predicted"]) for m in found] == [
        ("z", "c", "a | c"),
        ("x", "a | b", "a"),
    ]
    assert [m["confidence"] for m in found] == pytest.approx([0.95, 0.8])


def test_most_confused():
    pairs = most_confused([[5, 3, 0], [1, 8, 1], [0, 0, 4]], ["a", "b", "c"], count=2)
    assert pairs == [("a", "b", 3, 3 / 8), ("b", "a", 1, 0.1)]


def test_result_table():
    result = made(3)
    metrics = {**result.metrics, "encoder": "models/[v1]", "baselines": result.baselines}
    table = result_table(metrics)
    output = io.StringIO()
    Console(file=output, width=100).print(table)
    text = output.getvalue()
    for expected in ("This model", "Majority class", "0.400 to 0.600", "TF-IDF", "ECE"):
        assert expected in text
    assert "The encoder (models/[v1])" in " ".join(text.split())
