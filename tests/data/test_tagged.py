"""Labelled words from any source become one kind of data set."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from tests.data.test_slots import folder_of
from tests.tagged import sentences, write_conll
from tfhub_transfer.config import DataConfig
from tfhub_transfer.data.tagged import load_labelled, load_tagged
from tfhub_transfer.data.tagged_examples import TaggedExamples
from tfhub_transfer.errors import ConfigError, DataError

WORDS = [["EU", "rejects", "German", "call"], ["Peter", "Blackburn"], ["BRUSSELS"]]
IOB1 = [["I-ORG", "O", "I-MISC", "O"], ["I-PER", "I-PER"], ["I-LOC"]]


def column_file(path: Path, words=WORDS, tags=IOB1) -> Path:
    lines = (
        "".join(f"{word} {tag}\n" for word, tag in zip(*sentence, strict=True))
        for sentence in zip(words, tags, strict=True)
    )
    path.write_text("\n".join(lines))
    return path


def three_files(folder: Path, **other) -> str:
    """Write a folder of three splits, each file of it given as (words, tags)."""
    for name in ("train", "dev", "test"):
        column_file(folder / f"{name}.conll", *other.get(name, (WORDS, IOB1)))
    return str(folder)


def many(size: int) -> tuple[list[list[str]], list[list[str]]]:
    words = [[f"w{n}", "x"] for n in range(size)]
    return words, [["B-A" if n % 2 else "O", "O"] for n in range(size)]


def load(source: str | Path, **settings):
    scheme = settings.pop("to", "iob2")
    types = settings.pop("types", None)
    config = DataConfig(source=str(source), **settings)
    return load_tagged(config, scheme=scheme, seed=0, types=types)


def spelt(examples: TaggedExamples, data) -> list[list[str]]:
    return examples.tags.named(data.all_tags)


def test_columns_become_texts_and_tags_in_iob2(tmp_path):
    data = load(three_files(tmp_path))
    assert data.labels == (
        "O", "B-LOC", "I-LOC", "B-MISC", "I-MISC", "B-ORG", "I-ORG", "B-PER", "I-PER"
    )
    assert data.train.texts() == ["EU rejects German call", "Peter Blackburn", "BRUSSELS"]
    assert data.train.words() == WORDS
    assert spelt(data.train, data)[:2] == [["B-ORG", "O", "B-MISC", "O"], ["B-PER", "I-PER"]]
    assert data.train.ids.tolist() == [1, 6, 9]
    assert (data.scheme, data.intents, data.unseen_tags) == ("iob2", (), ())
    assert "Tags in IOB1 (train, test, validation) were brought into IOB2." in data.notes
    assert not data.multi_label


def test_iobes(tmp_path):
    data = load(three_files(tmp_path), to="iobes")
    assert spelt(data.train, data)[1:] == [["B-PER", "E-PER"], ["S-LOC"]]
    assert data.labels[:5] == ("O", "B-LOC", "I-LOC", "E-LOC", "S-LOC")
    assert data.summary["train"]["entities"] == {"LOC": 1, "MISC": 1, "ORG": 1, "PER": 1}


def test_summary(tmp_path):
    data = load(three_files(tmp_path))
    assert data.summary["train"]["n"] == 3
    assert data.summary["train"]["words"]["total"] == 7
    assert data.summary["train"]["words"]["max"] == 4
    assert data.summary["train"]["entities"] == {"LOC": 1, "MISC": 1, "ORG": 1, "PER": 1}
    assert data.summary["duplicates"]["train_test"] == 3
    assert any("3 distinct texts stand in both train and test" in note for note in data.notes)


def test_targets_are_padded(tmp_path):
    data = load(three_files(tmp_path))
    names = np.array([*data.labels, "-"])  # -1 is the last of them
    targets = data.train.targets(len(data.labels))
    assert targets.dtype == np.int32
    assert names[targets].tolist() == [
        ["B-ORG", "O", "B-MISC", "O"],
        ["B-PER", "I-PER", "-", "-"],
        ["B-LOC", "-", "-", "-"],
    ]
    assert data.train.targets(9, np.array([2, 1])).shape == (2, 2)
    assert data.train.class_counts(9).tolist() == [2, 1, 0, 1, 0, 1, 0, 1, 1]


def test_taking_keeps_words_and_tags_together(tmp_path):
    data = load(three_files(tmp_path))
    taken = data.train.take(np.array([2, 0]))
    assert taken.words() == [WORDS[2], WORDS[0]]
    assert spelt(taken, data) == [["B-LOC"], ["B-ORG", "O", "B-MISC", "O"]]
    assert len(data.train.take(np.array([True, False, True]))) == 2


def test_what_only_the_test_has_stays_there_and_is_told(tmp_path):
    data = load(three_files(tmp_path, test=([["a", "b"]], [["I-NEW", "I-PER"]])))
    assert data.unseen_tags == ("B-NEW",)
    assert spelt(data.test, data) == [["B-NEW", "B-PER"]]
    assert data.test.targets(len(data.labels)).tolist() == [[0, data.labels.index("B-PER")]]
    assert data.summary["test"]["entities"] == {"NEW": 1, "PER": 1}
    assert any("1 tag that training rows do not have (B-NEW) stay" in note for note in data.notes)


def test_one_file_is_divided(tmp_path):
    data = load(column_file(tmp_path / "a.bio", *many(100)))
    assert [len(part) for part in (data.train, data.validation, data.test)] == [72, 8, 20]
    words = [word for part in (data.train, data.validation, data.test) for word in part.words()]
    assert sorted(words) == sorted(many(100)[0])
    for words, tags in zip(data.test.words(), spelt(data.test, data), strict=True):
        assert tags[0] == ("B-A" if int(words[0][1:]) % 2 else "O")
    assert any("20 of 100 sentences, was carved out of" in note for note in data.notes)
    again = load(tmp_path / "a.bio")
    assert again.test.texts() == data.test.texts()


def test_limit(tmp_path):
    data = load(column_file(tmp_path / "a.bio", *many(100)), limit=7)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [7, 7, 7]
    assert any("7 test sentences were drawn" in note for note in data.notes)


def test_intents(tmp_path):
    folder = folder_of(tmp_path, "train", "valid")
    folder_of(tmp_path, "test", label="flight\nnew\n")
    data = load(folder)
    assert data.intents == ("flight", "flight#airfare")
    assert data.unseen_intents == ("new",)
    assert data.test.labels.tolist() == [0, 2]
    assert data.labels == ("O", "B-city", "I-city")
    assert data.train.targets(3).tolist() == [[0, 0, 0, 1], [1, 0, 0, -1]]
    assert data.test.targets(3)[:, 0].tolist() == [0, -1]
    assert data.test.take(np.array([1])).targets(3).tolist() == [[-1, 0, 0]]
    assert data.summary["test"]["intents"] == {"flight": 1, "flight#airfare": 0, "new": 1}
    assert any("1 intent that training rows do not have (new)" in note for note in data.notes)


def test_broken_sequences_are_read_as_conlleval_reads_them_and_told(tmp_path):
    words = [["a", "b", "c"]] * 2
    tags = [["B-A", "I-A", "O"], ["B-A", "O", "I-A"]]
    data = load(three_files(tmp_path, train=(words, tags)))
    assert spelt(data.train, data)[1] == ["B-A", "O", "B-A"]
    assert any(
        "1 tag is where IOB2 does not allow them" in note and "train.conll" in note
        for note in data.notes
    )


def test_a_given_scheme_is_believed(tmp_path):
    data = load(three_files(tmp_path), scheme="iob2")
    assert sum("4 tags are where IOB2 does not allow them" in note for note in data.notes) == 3
    assert spelt(data.train, data)[1] == ["B-PER", "I-PER"]


def test_types_are_renamed_and_left_out(tmp_path):
    names = {"PER": "person", "LOC": "place", "ORG": "O", "MISC": "O"}
    data = load(three_files(tmp_path), types=names)
    assert data.labels == ("O", "B-person", "I-person", "B-place", "I-place")
    assert spelt(data.train, data)[0] == ["O", "O", "O", "O"]
    with pytest.raises(DataError, match=r"It maps: PER\. Received: LOC, MISC, ORG$"):
        load(tmp_path, types={"PER": "person"})


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_list_columns(tmp_path, kind):
    file = tmp_path / f"a.{kind}"
    words, tags = many(40)
    if kind == "jsonl":
        rows = zip(words, tags, strict=True)
        file.write_text("".join(json.dumps({"tokens": w, "ner": t}) + "\n" for w, t in rows))
    else:
        pa.parquet.write_table(pa.table({"tokens": words, "ner": tags}), file)
    data = load(file, text_column="tokens", label_column="ner")
    found = dict(zip(data.train.texts(), spelt(data.train, data), strict=True))
    assert len(found) == 29
    assert all(found[f"w{n} x"] == tags[n] for n in range(40) if f"w{n} x" in found)


@pytest.mark.parametrize(
    ("record", "error", "message"),
    [
        ({"text": ["a", "b"], "label": ["O"]}, DataError, r"row 2: 1 tags for 2 words\. Received"),
        ({"text": ["a"], "label": ["PER"]}, DataError, r"row 2: 'PER' is no tag: .* Received: \["),
        ({"text": "a", "label": ["O"]}, DataError, r"row 2: words must be a list of strings"),
        ({"text": ["a"], "label": "O"}, DataError, r"row 2: expected a list of words and a list"),
    ],
)
def test_rows_of_lists_that_are_broken(tmp_path, record, error, message):
    good = {"text": ["a"], "label": ["B-A"]}
    file = tmp_path / "a.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in (good, record)))
    with pytest.raises(error, match=message):
        load(file)


def test_a_parquet_column_of_strings_is_no_column_of_words(tmp_path):
    file = tmp_path / "a.parquet"
    pa.parquet.write_table(pa.table({"text": ["a b"], "label": [["O", "O"]]}), file)
    with pytest.raises(DataError, match=r"'text' of .* must hold lists of words\. Received: str"):
        load(file)


def test_nulls_in_lists_of_a_parquet_file(tmp_path):
    rows = {"text": [["a"], ["b", None]], "label": [["B-A"], ["O", "O"]]}
    file = tmp_path / "a.parquet"
    pa.parquet.write_table(pa.table({key: value * 20 for key, value in rows.items()}), file)
    data = load(file)
    assert data.summary["rejected"] == {"a word is empty or has white space in it": 20}
    rows["label"][1] = ["O", None]
    pa.parquet.write_table(pa.table(rows), file)
    with pytest.raises(DataError, match=r"row 2: '' is no tag: .* Received: \['O', ''\]"):
        load(file)


def test_rows_that_cannot_be_used_are_written_down(tmp_path):
    rows = [([f"w{n}"], ["B-A"]) for n in range(30)]
    rows += [(["New York"], ["B-A"]), ([], []), (["", "a"], ["O", "O"]), (None, ["O"])]
    file = tmp_path / "a.jsonl"
    file.write_text("".join(json.dumps({"text": w, "label": t}) + "\n" for w, t in rows))
    config = DataConfig(source=str(file))
    data = load_tagged(config, seed=0, rejected=tmp_path / "rejected.jsonl")
    written = (tmp_path / "rejected.jsonl").read_text().splitlines()
    rejected = [json.loads(line) for line in written]
    assert [record["row"] for record in rejected] == [31, 32, 33, 34]
    assert rejected[0]["text"] == ["New York"]
    assert data.summary["rejected"] == {
        "a word is empty or has white space in it": 2, "empty text": 1, "null text": 1,
    }
    assert "2 rows were rejected: a word is empty or has white space in it." in data.notes


def test_nothing_to_learn_from(tmp_path):
    file = column_file(tmp_path / "a.conll", [["a"]] * 9, [["O"]] * 9)
    with pytest.raises(DataError, match=r"has no entity to learn from: .* Received: 9 sentences"):
        load(file)


@pytest.mark.parametrize(
    "settings",
    [{"shots": 3}, {"balance": "oversample"}, {"word_dropout": 0.1}, {"label_separator": "|"}],
)
def test_settings_of_labelled_texts(tmp_path, settings):
    name = f"data.{next(iter(settings))}"
    with pytest.raises(ConfigError, match=rf"leave these settings out; .* Received: {name} "):
        load(column_file(tmp_path / "a.conll", *many(20)), **settings)


def test_sources_that_hold_no_words(tmp_path):
    with pytest.raises(DataError, match=r"No such data source.*: 'tfds:NAME.*\.conll.*seq\.in"):
        load("sample")
    (tmp_path / "a.csv").write_text("text,label\na,O\n")
    with pytest.raises(DataError, match=r"Unknown kind of file\. Accepted: .*\.iob2"):
        load(tmp_path / "a.csv")
    with pytest.raises(DataError, match=r"needs a train file \(train\.conll, .* with a\.csv"):
        load(tmp_path)


@pytest.mark.parametrize("names", [("eng.train", "eng.testa", "eng.testb"),
                                   ("emerging.train.conll", "emerging.dev.conll", "x.test.conll")])
def test_names_of_files_in_a_folder(tmp_path, names):
    for name in names:
        column_file(tmp_path / name)
    data = load(tmp_path)
    assert [Path(part.origin).name for part in (data.train, data.validation, data.test)] == [*names]


def test_without_an_entity_nothing_is_measured_and_that_is_told(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    write_conll(folder / "train.conll", sentences(20))
    for name in ("dev", "test"):
        write_conll(folder / f"{name}.conll", [([("on", "O"), ("we", "O"), ("go", "O")], "")])
    data = load(folder)
    for split in ("validation", "test"):
        assert f"No {split} sentence has an entity: precision, recall and F1 say" in str(data.notes)
    other = load_labelled(
        DataConfig(source=str(folder / "test.conll")),
        labels=data.labels,
        intents=(),
        scheme="iob2",
        seed=0,
    )
    assert other.notes[-1].startswith("No test sentence has an entity")


def test_another_data_set_under_a_model_s_tags(tmp_path):
    model = load(three_files(tmp_path))
    other = tmp_path / "other.conll"
    column_file(other, [["a", "b"]], [["I-PER", "I-NEW"]])
    config = DataConfig(source=str(other))
    found = load_labelled(config, labels=model.labels, intents=(), scheme="iob2", seed=0)
    assert found.examples.tags.named(found.all_tags) == [["B-PER", "B-NEW"]]
    assert found.all_tags == (*model.labels, "B-NEW")
    assert any("(B-NEW)" in note for note in found.notes)
    with pytest.raises(DataError, match=r"Received: a model with 1 intents, and other\.conll with"):
        load_labelled(config, labels=model.labels, intents=("x",), scheme="iob2", seed=0)


def test_the_test_split_is_what_a_model_is_measured_on(tmp_path):
    folder = three_files(tmp_path, test=([["x", "y"]], [["I-PER", "I-PER"]]))
    config = DataConfig(source=folder)
    found = load_labelled(config, labels=("O", "B-PER", "I-PER"), intents=(), scheme="iob2", seed=0)
    assert found.examples.texts() == ["x y"]


@pytest.mark.real_data
def test_conll_2003(real_data):
    data = load(real_data / "ner" / "conll2003")
    entities = [sum(data.summary[n]["entities"].values()) for n in ("train", "validation", "test")]
    assert entities == [23_499, 5_942, 5_648]
    assert [len(data.train), len(data.validation), len(data.test)] == [14_041, 3_250, 3_453]
    assert [len(part.tags.values) for part in (data.train, data.validation, data.test)] == [
        203_621, 51_362, 46_435,
    ]
    assert len(data.labels) == 9
    assert data.unseen_tags == ()
    assert not data.summary["rejected"]
    # B-MISC after O in lines 152,428 and 175,436 of the original file
    assert [note for note in data.notes if "2 tags are where IOB1" in note and "eng.train" in note]


@pytest.mark.real_data
def test_wnut_17(real_data):
    data = load(real_data / "ner" / "wnut17")
    assert [len(data.train), len(data.validation), len(data.test)] == [3_394, 1_009, 1_287]
    entities = [sum(data.summary[n]["entities"].values()) for n in ("train", "validation", "test")]
    assert entities == [1_975, 836, 1_079]
    assert not data.summary["rejected"]


@pytest.mark.real_data
def test_atis(real_data):
    data = load(real_data / "slots" / "atis")
    assert [len(data.train), len(data.validation), len(data.test)] == [4_478, 500, 893]
    assert len(data.intents) == 21
    assert "atis_flight#atis_airfare" in data.intents
    assert data.unseen_tags and data.unseen_intents
    assert not data.summary["rejected"]
