"""Figures: what they show, not how they look."""

import io
import json
import subprocess
import sys

import matplotlib
import matplotlib.figure
import numpy as np
import pytest

from tfhub_transfer.evaluation import plots
from tfhub_transfer.evaluation.style import COLOURS, INK, plot_style, short, to_svg


def title(figure):
    return figure.axes[0].get_title(loc="left")


def test_result_bars_say_who_is_ahead():
    def row(accuracy):
        return {"accuracy": accuracy, "ci95": {"accuracy": [accuracy - 0.02, accuracy + 0.02]}}

    baselines = {"majority": row(0.3), "tfidf_logreg": row(0.85)}
    assert title(plots.result_bars(row(0.9), baselines)) == "5.0 points above the best baseline"
    assert title(plots.result_bars(row(0.8), baselines)) == "5.0 points below the best baseline"
    assert title(plots.result_bars(row(0.8), {})) == "Accuracy 0.800"


@pytest.mark.parametrize(("classes", "texts", "ticks"), [(2, 4, 2), (12, 144, 12), (40, 0, 40)])
def test_confusion_matrix_names_what_can_be_read(classes, texts, ticks):
    figure = plots.confusion_matrix(
        np.eye(classes, dtype=int) * 5, [f"l{i}" for i in range(classes)]
    )
    assert len(figure.axes[0].texts) == texts
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()][-1] == f"l{ticks - 1}"
    assert title(figure) == f"{5 * classes} of {5 * classes} on the diagonal"


def test_confusion_matrix_of_150_classes_is_numbered():
    figure = plots.confusion_matrix(np.ones((150, 150), int), [f"l{i}" for i in range(150)])
    assert figure.axes[0].get_xlabel() == "Predicted class (by number)"


@pytest.mark.parametrize(("classes", "lines"), [(2, 1), (5, 5), (9, 10)])
def test_curves_per_class(classes, lines):
    generator = np.random.default_rng(0)
    targets = np.arange(60) % classes
    probabilities = generator.dirichlet(np.ones(classes), size=60)
    labels = [f"_l{i}" for i in range(classes)]
    roc = plots.roc_curves(targets, probabilities, labels).axes[0]
    assert len(roc.lines) == lines + 1  # and the diagonal
    precision_recall = plots.precision_recall_curves(targets, probabilities, labels).axes[0]
    assert len(precision_recall.lines) == lines
    assert len(roc.get_legend().get_texts()) == (lines if classes <= 8 else 1)


def test_perfect_curves():
    targets = np.array([0, 0, 1, 1])
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.1, 0.9]])
    assert title(plots.roc_curves(targets, probabilities, ["a", "b"])) == "AUC 1.000"
    figure = plots.precision_recall_curves(targets, probabilities, ["a", "b"])
    assert title(figure) == "Average precision 1.000"


def test_reliability_says_which_way_it_leans():
    probabilities = np.tile([0.9, 0.1], (10, 1))
    figure = plots.reliability_diagram(np.array([0] * 5 + [1] * 5), probabilities)
    assert title(figure) == "On average 40.0 points more sure than right (ECE 0.400)"


def test_learning_curves_take_any_metric_and_gaps():
    history = [
        {"epoch": "1", "loss": "0.9", "val_loss": "", "auc": 0.5, "val_auc": 0.5, "lr": 1},
        {"epoch": "2", "loss": "0.7", "val_loss": "0.8", "auc": 0.6, "val_auc": 0.5, "lr": 1},
    ]
    figure = plots.learning_curves(history)
    assert [axes.get_ylabel() for axes in figure.axes] == ["Loss", "Auc"]
    legend = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert legend == ["Training", "Validation", "Lowest: epoch 2"]
    kept = plots.learning_curves(history, kept=1).axes[0].get_legend().get_texts()
    assert kept[-1].get_text() == "Kept: epoch 1"


def test_learning_curves_without_validation():
    assert len(plots.learning_curves([{"epoch": 1, "loss": 0.5}]).axes) == 1


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        ({"a": 30, "b": 10}, "The largest class is 3.0 times the smallest"),
        ({"a": 20, "b": 20}, "The classes are of equal size"),
        ({"a": 20, "b": 0, "c": 0}, "2 classes have no training row"),
        ({f"l{i}": 2 + i for i in range(99)}, "The largest class is 50.0 times the smallest"),
    ],
)
def test_class_balance(counts, text):
    split = {"n": sum(counts.values()), "class_counts": counts}
    assert title(plots.class_balance({"train": split, "validation": {"n": 0}})) == text


def test_text_lengths_of_one_word_texts():
    words = {"p5": 1, "p50": 1, "p95": 1, "max": 1}
    figure = plots.text_lengths({"train": {"n": 3, "words": words}})
    assert title(figure) == "Half of the train texts have at most 1 words"


def test_drawing_leaves_the_callers_settings_alone():
    before = json.dumps(dict(matplotlib.rcParams), default=str)
    figure = plots.learning_curves([{"epoch": 1, "loss": 0.5}])
    to_svg(figure, "name", "text")
    assert json.dumps(dict(matplotlib.rcParams), default=str) == before


def test_svg_is_fit_for_a_page():
    figure = plots.learning_curves([{"epoch": 1, "loss": 0.5}])
    svg = to_svg(figure, "curves", 'a "title"')
    assert svg.startswith("<svg ")
    assert 'aria-label="a &quot;title&quot;"' in svg
    assert INK.lower() not in svg.lower()
    assert "currentColor" in svg
    assert ">Loss</text>" in svg
    assert 'id="curves-' in svg


def test_same_figure_same_svg():
    history = [{"epoch": 1, "loss": 0.5}]
    first, again = (to_svg(plots.learning_curves(history), "x", "") for _ in range(2))
    assert first == again


def test_short_labels():
    assert short("two\nlines") == "two lines"
    assert short("x" * 40) == "x" * 27 + "…"


def test_evaluation_imports_neither_tensorflow_nor_pyplot():
    code = (
        "import sys, tfhub_transfer.evaluation.report, tfhub_transfer.evaluation.baselines; "
        "print([m for m in ('tensorflow', 'keras', 'matplotlib.pyplot') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_pyplot_takes_the_report_s_look():
    with matplotlib.rc_context():
        plot_style()
        figure = matplotlib.figure.Figure()
        (line,) = figure.subplots().loglog([1, 10, 1000], [1, 10, 1000])
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg")
    assert line.get_color() == COLOURS[0]
    assert ">$" not in buffer.getvalue(), "the ticks of logarithmic axes are mathematics"
