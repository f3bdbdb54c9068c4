from __future__ import annotations

import pytest
from markdown_it import MarkdownIt

from tfhub_transfer.artifact.model_card import (
    ModelCard,
    plain,
    write_model_card,
)

STRANGE = ["a|b", "<script>alert(1)</script>", "_it_ *is* `so`", "[x](y) # ~z~", "R&D &lt; \\"]


def scores(value, n=200, low=0.1, high=0.1):
    ci95 = {"accuracy": [value - low, value + high]}
    return {"n": n, "accuracy": value, "macro_f1": value, "log_loss": 0.5, "roc_auc": None,
            "ece": 0.04, "ci95": ci95}  # fmt: skip


def made(labels=("good", "poor"), **changes):
    per_class = {
        label: {"precision": 0.5, "recall": 0.5, "f1": index / len(labels), "support": 10 + index}
        for index, label in enumerate(labels)
    }
    metrics = {
        "task": "classification", "data": "/home/me/data/reviews.csv",
        "strategy": "feature_extraction", "encoder": "tiny",
        "labels": list(labels), "multi_label": False, "epochs": 9, "best_epoch": 7,
        "validation": {"n": 100}, "test": {**scores(0.9), "per_class": per_class},
        "baselines": {"tfidf_logreg": scores(0.6)},
        "notes": ["The split was carved out of /data/sets/mine/train.csv (seed 0).",
                  "56 training rows repeat another's text."],
    }  # fmt: skip
    values = {
        "name": "mood", "version": 4, "date": "2025-01-31", "serving_version": "2.19.1",
        "metrics": metrics, "config": {"seed": 5, "data": {"dir": "/data/sets"}},
        "encoder": "tiny", "encoder_handle": "https://example.org/tiny/1",
        "encoder_licence": "Apache-2.0", "languages": ("en", "de"), "max_tokens": 256,
        "calibration": calibration(), "size_bytes": 91_400_000,
        "weights_bytes": 90_900_000, "parity": 2.4e-7, "parity_texts": 78, "warm_up_requests": 12,
        "packages": {"tensorflow": "2.21.0"},
    }  # fmt: skip
    return ModelCard(**(values | changes))


def calibration(temperature=1.0, threshold=None):
    """Return what `evaluation.calibration` measures."""
    kept = {"precision": 0.95, "coverage": 0.901} if threshold is not None else {}
    validation = {"n": 100, "ece_before": 0.046, "ece_after": 0.012, "log_loss_before": 0.5,
                  "log_loss_after": 0.4, **kept}  # fmt: skip
    test = {"n": 200, "ece_before": 0.05, "ece_after": 0.02, "log_loss_before": 0.6,
            "log_loss_after": 0.5, **(kept and {"precision": 0.93, "coverage": 0.8})}  # fmt: skip
    return {"temperature": temperature, "threshold": threshold, "validation": validation,
            "test": test}  # fmt: skip


def read(path, card):
    target = path / "model_card.md"
    write_model_card(target, card)
    return target.read_text()


def tables(text):
    """Return each table of the rendered Markdown as rows of cells, in plain text."""
    found, row, inside = [], [], False
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            row = []
        elif token.type == "tr_close":
            found[-1].append(row)
        elif token.type in ("td_open", "th_open"):
            inside = True
        elif token.type == "inline" and inside:
            row.append("".join(child.content for child in token.children))
            inside = False
    return found


def table(text, heading):
    return next(rows for rows in tables(text) if heading in rows[0])


def test_the_card_has_what_a_reader_needs(tmp_path):
    text = read(tmp_path, made())
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert headings == [
        "# mood, version 4", "## Use", "## How to call it", "## Data", "## Measured",
        "### Calibration", "### Class by class", "## Encoder and licence", "## Limits",
        "## Where it comes from",
    ]  # fmt: skip
    assert "The encoder (tiny) beats TF-IDF + logistic regression" in text
    assert "http://127.0.0.1:8501/v1/models/mood:predict" in text
    assert "56 training rows repeat another's text." in text
    assert "Licence of its weights: Apache-2.0." in text
    assert "the first 256 tokens" in text
    assert "real validation texts" in text
    provenance = dict(tables(text)[-1])
    assert provenance["size"] == "91.4 MB, of which weights 90.9 MB"
    assert "78 texts within 2.4e-07" in provenance["checked"]
    assert provenance["training"].endswith("the weights of epoch 7, seed 5")
    assert provenance["tensorflow"] == "2.21.0"


def test_metrics_stand_with_their_intervals_beside_the_baselines(tmp_path):
    rows = table(read(tmp_path, made()), "accuracy")
    assert rows[1] == ["This model", "0.900 (0.800 to 1.000)", "0.900", "", "0.500", "0.040"]
    assert rows[2][:2] == ["TF-IDF + logistic regression", "0.600 (0.500 to 0.700)"]


def test_no_path_of_the_machine_is_passed_on(tmp_path):
    text = read(tmp_path, made(encoder="/home/me/encoders/mine", encoder_handle="/home/me/e/x"))
    assert "/home" not in text
    assert "/data" not in text
    assert "\nreviews.csv.\n" in text
    assert "carved out of mine/train.csv (seed 0)" in text
    assert "https://github" not in text
    assert "https://arxiv.org/abs/1810.03993" in text


@pytest.mark.parametrize("label", STRANGE)
def test_labels_are_shown_as_they_are(tmp_path, label):
    assert table(read(tmp_path, made((label, "other"))), "F1")[1][0] == label


@pytest.mark.parametrize(
    ("text", "expected"),
    [("card_payment_fee", "card_payment_fee"), ("_a_b_", r"\_a_b\_"), ("two\nlines", "two lines")],
)
def test_plain_leaves_alone_what_markdown_does(text, expected):
    assert plain(text) == expected


def test_of_many_classes_the_weakest_are_shown(tmp_path):
    text = read(tmp_path, made([f"class {index}" for index in range(31)]))
    rows = table(text, "F1")[1:]
    assert [row[0] for row in rows] == [f"class {index}" for index in range(20)]
    assert "The other 11 have 0.645 to 0.968" in text
    assert len(table(read(tmp_path, made([f"{i}" for i in range(30)])), "F1")) == 31


def test_counts_by_split_and_class_stand_where_they_are_known(tmp_path):
    assert table(read(tmp_path, made()), "split")[1:] == [["validation", "100"], ["test", "200"]]
    words = {"p5": 1, "p50": 9.5, "p95": 30, "max": 1200}
    counts = {"good": 700, "poor": 1500}
    splits = {"train": {"n": 2200, "class_counts": counts, "words": words}}
    text = read(tmp_path, made(data_summary={"splits": splits}))
    assert table(text, "split")[1] == ["train", "2,200", "9.5", "1,200"]
    assert [row[-1] for row in table(text, "F1")] == ["training texts", "700", "1,500"]


def test_calibration_and_rejection_are_told(tmp_path):
    assert "probabilities are the model's own" in read(tmp_path, made())
    text = read(tmp_path, made(calibration=calibration(temperature=1.31, threshold=0.61)))
    assert "temperature of 1.310" in text
    assert table(text, "ECE before")[1:] == [
        ["validation texts", "0.046", "0.012", "0.500", "0.400"],
        ["test texts", "0.050", "0.020", "0.600", "0.500"],
    ]
    assert "scores below 0.610" in text
    flowing = " ".join(text.split())
    assert "90.1% of them get a label, and 95.0% of those labels are right" in flowing
    assert "Of the test texts 80.0% get one" in flowing
    assert "also where none fits" not in text


def test_what_is_not_known_is_said_or_left_out(tmp_path):
    metrics = dict(made().metrics, baselines={}, notes=[], multi_label=True)
    card = made(languages=(), encoder_licence=None, max_tokens=None, warm_up_requests=0,
                metrics=metrics)  # fmt: skip
    text = read(tmp_path, card)
    assert "Languages that the encoder was trained on: not known." in text
    assert "not known; look before you pass the model on" in text
    assert "No row was rejected" in text
    assert "any number of 2 labels" in text
    assert "tokens of a text" not in text
    assert "tf_serving_warmup_requests" not in text
    assert "None" not in text.replace("None: probabilities", "")


def test_a_label_with_half_a_surrogate_pair_is_written(tmp_path):
    assert "odd ?" in read(tmp_path, made(("odd \ud83d", "other")))
