"""The README's tables are those of the measurements."""

from __future__ import annotations

from types import ModuleType

import pytest

from tests import scripts
from tests.scripts import ROOT


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return scripts.script("readme_tables")


def test_the_readme_has_the_numbers_of_the_results(script):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "<!-- table: encoders -->" in text
    assert script.filled(text) == text, "run `make readme`"


def test_a_marked_table_is_replaced_and_nothing_else(script, tmp_path, monkeypatch):
    monkeypatch.setattr(script, "ROOT", tmp_path)
    (tmp_path / "x.md").write_text(
        "| A |\n|---|\n| 0 |\n\ntext\n\n| A | B |\n| --- | ---: |\n| 1 | 2 \\| 3 |\n| 4 | 5 |\n"
    )
    page = "before\n<!-- table: x.md 2: B, A -->\nold\n<!-- end of table -->\nafter | not a table\n"
    assert script.filled(page) == page.replace(
        "old\n", "| B | A |\n|---|---|\n| 2 \\| 3 | 1 |\n| 5 | 4 |\n"
    )


def test_the_encoders_table_is_a_pivot_of_the_accuracies(script, tmp_path, monkeypatch):
    results = {
        "accuracy.md": "| Data set | Encoder | Strategy | Accuracy | TF-IDF |\n"
        "|---|---|---|---|---|\n"
        "| imdb | minilm-l6 | feature_extraction | 0.8123 | 0.9000 |\n"
        "| imdb-static | minilm-static | fine_tuning | 0.9511 | 0.9000 |\n",
        "encode.md": "| Encoder | Texts/s, median |\n|---|---|\n| ours, float32 | 590 |\n"
        "| theirs | 1 |\n| ours, bfloat16 | 1,183 |\n",
        "encode_static.md": "| Encoder | Texts/s, median |\n|---|---|\n| ours | 70,000 |\n",
    }  # fmt: skip
    for name, text in results.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(script, "RESULTS", tmp_path)
    rows = {row["Encoder"]: row for row in script.encoders()}
    assert list(rows) == [
        "TF-IDF + logistic regression", "`minilm-static`, fine-tuned", "`minilm-l6`, frozen",
    ]  # fmt: skip
    assert rows["TF-IDF + logistic regression"]["IMDB"] == "0.9000"
    assert rows["`minilm-static`, fine-tuned"]["IMDB"] == "**0.9511**"
    assert rows["`minilm-l6`, frozen"]["IMDB"] == "0.8123"
    assert rows["`minilm-l6`, frozen"]["Texts/s*"] == "590 / 1,183"
    assert rows["`minilm-l6`, frozen"]["SST-2"] == ""
    assert rows["`minilm-l6`, frozen"]["Width"] == "384"
