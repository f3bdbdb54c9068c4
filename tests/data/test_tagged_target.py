"""Another domain's sentences: which are learnt from without their tags, which are tested on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.tagged import sentences, settings, write_conll, write_slots
from tfhub_transfer.config import AdaptationConfig
from tfhub_transfer.data.label_map import read_type_map
from tfhub_transfer.data.tagged import load_tagged
from tfhub_transfer.data.tagged_examples import WITHHELD, TaggedDataset
from tfhub_transfer.data.tagged_target import read_tagged_target
from tfhub_transfer.data.target_domain import TargetDomain
from tfhub_transfer.errors import DataError

TYPES = "source: {city: place, person: person}\ntarget: {town: place, person: person, song: O}\n"
ROWS = [
    [("moin", "O"), ("Ada", "B-person")],
    [("Oslo", "B-town"), ("calling", "O"), ("!", "O")],
    [("sing", "O"), ("Blue", "B-song"), ("Moon", "I-song")],
]


def read(
    folder: Path, target: Path | str, types: str | None = None, **changes
) -> tuple[TargetDomain, TaggedDataset]:
    source = changes.pop("source", None) or write_conll(folder / "source.conll", sentences(60))
    rejected = changes.pop("rejected", None)
    asked = {"target": str(target)}
    if types is not None:
        (folder / "types.yaml").write_text(types)
        asked["labels"] = str(folder / "types.yaml")
    config = settings(
        folder / "run",
        source,
        head={"hidden": (4,)},
        training={"strategy": "dann"},
        adaptation=AdaptationConfig(**asked),
        **changes,
    )
    names = read_type_map(asked["labels"], "source") if types is not None else None
    data = load_tagged(config.data, scheme=config.tagging.scheme, seed=0, types=names)
    return read_tagged_target(config, data, data.train.column, rejected), data


def folder_of(folder: Path, **splits) -> Path:
    folder.mkdir()
    for name, rows in splits.items():
        write_conll(folder / f"{name}.conll", [(words, "") for words in rows])
    return folder


def test_tags_of_what_is_learnt_from_are_withheld(tmp_path):
    target = folder_of(tmp_path / "target", train=ROWS, test=[[("in", "O"), ("Rom", "B-town")]])
    found, data = read(tmp_path, target, TYPES)
    both = found.texts.after(data.train)
    assert both.texts()[-3:] == ["moin Ada", "Oslo calling !", "sing Blue Moon"]
    last = np.arange(len(both))[-3:]
    wanted = [[-2, -2, -1], [-2, -2, -2], [-2, -2, -2]]
    assert both.targets(len(data.labels), last).tolist() == wanted
    own = np.arange(len(data.train))
    np.testing.assert_array_equal(
        both.targets(len(data.labels), own), data.train.targets(len(data.labels))
    )
    assert (both.take(own).tags.values != WITHHELD).all()
    assert both.class_counts(5).sum() == len(data.train.tags.values)
    # those of the test are known, under the names that both share
    assert data.labels == ("O", "B-person", "I-person", "B-place", "I-place")
    assert found.test.tags.named(data.labels) == [["O", "B-place"]]
    assert found.name == "target"


def test_entities_that_count_as_o_are_told(tmp_path):
    types = (
        "source: {city: place, person: human}\n"
        "target: {town: place, song: work, person: person}\n"
    )
    learnt = [[("Ada", "B-person"), ("sings", "O")]]
    target = folder_of(tmp_path / "target", train=learnt, dev=ROWS)
    found, data = read(tmp_path, target, types)
    assert data.labels == ("O", "B-place", "I-place")
    left_out = "Entities of source.conll that the map of types leaves out count as O: 30 of type"
    assert f"{left_out} person." in data.notes
    assert found.test.tags.named(data.labels)[1:] == [["B-place", "O", "O"], ["O", "O", "O"]]
    said = "Entities of target's test rows that the map of types leaves out count as O: "
    assert f"{said}1 of type person, 1 of type song." in found.notes


def test_what_is_tested_on_is_not_learnt_from(tmp_path):
    target = folder_of(tmp_path / "target", train=ROWS, test=ROWS[:1])
    found, data = read(tmp_path, target, TYPES)
    assert data.train.column.read(found.texts.rows) == ["Oslo calling !", "sing Blue Moon"]
    assert "1 more were left out, for they stand in validation or test" in found.notes[0]


def test_a_share_of_one_file_is_held_out(tmp_path):
    rows = sentences(80, seed=3)
    target = write_conll(tmp_path / "target.conll", rows)
    found, data = read(tmp_path, target)
    learnt = data.train.column.read(found.texts.rows)
    assert 5 < len(found.test) < 30
    assert not set(learnt) & set(found.test.texts())
    wanted = {" ".join(w for w, _ in words): [tag for _, tag in words] for words, _ in rows}
    for text, tags in zip(found.test.texts(), found.test.tags.named(data.labels), strict=True):
        assert wanted[text] == tags
    limited, _ = read(tmp_path, target, data={"limit": 4})
    assert (len(limited.texts.rows), len(limited.test)) == (4, 4)


def test_lines_without_tags_are_all_learnt_from(tmp_path):
    file = tmp_path / "lines.txt"
    file.write_text("one \t two\n\n three\nfour\u00a0five\n", encoding="utf-8")
    found, data = read(tmp_path, file)
    both = found.texts.after(data.train)
    assert both.texts()[-3:] == ["one two", "three", "four five"]
    assert both.tags.lengths[-3:].tolist() == [2, 1, 2]
    assert found.test is None
    assert f"{file} has no tags, and nothing was measured there." in found.notes


def test_tags_that_are_all_o_are_no_answers(tmp_path):
    rows = [[(word, "O") for word, _ in words] for words in ROWS]
    found, _ = read(tmp_path, folder_of(tmp_path / "target", train=ROWS, test=rows), TYPES)
    assert found.test is None
    assert "to test on has an entity, and nothing was measured there." in found.notes[-1]


def test_sentences_that_the_model_learns_the_tags_of_are_told(tmp_path):
    rows = [words for words, _ in sentences(60)]  # as in the source
    found, data = read(tmp_path, folder_of(tmp_path / "target", train=ROWS, test=rows))
    shared = len(set(data.train.texts()) & set(found.test.texts()))
    assert f"{shared:,} distinct texts stand in the source's training rows" in found.notes[-1]


def test_rows_that_cannot_be_tested_on_are_written_down(tmp_path):
    target, file = tmp_path / "target", tmp_path / "rejected.jsonl"
    target.mkdir()
    for split, words in (("train", ["Rom"]), ("test", ["Oslo", "a b"])):
        lines = [json.dumps({"text": [word], "label": ["B-city"]}) + "\n" for word in words]
        (target / f"{split}.jsonl").write_text("".join(lines))
    read(tmp_path, target, rejected=file)
    (line,) = map(json.loads, file.read_text().splitlines())
    assert (line["split"], line["row"], line["text"]) == ("target", 2, ["a b"])


def test_iobes_and_iob1_meet(tmp_path):
    rows = [[("New", "I-city"), ("York", "I-city"), ("Oslo", "B-city")]]
    target = folder_of(tmp_path / "target", train=ROWS[:1], test=rows)
    found, data = read(tmp_path, target, tagging={"scheme": "iobes"})
    assert found.test.tags.named(data.labels) == [["B-city", "E-city", "S-city"]]


@pytest.mark.parametrize(
    ("types", "match"),
    [
        (
            None,
            r"test\.conll has types of entities that the source's .* give --adaptation\.labels "
            r"FILE.* Accepted: 'city', 'person'\. Received: 'song', 'town'$",
        ),
        (
            "target: {town: place, person: person, song: O}",
            r"Accepted: 'city', 'person'\. Received: 'place'$",
        ),
        (
            "source: {city: place}\ntarget: {town: place}",
            r"source\.conll has types .* does not map: .* It maps: city\. Received: person$",
        ),
        (
            "source: {city: place, person: person}\ntarget: {town: place}",
            r"test\.conll has types .* or O, .* It maps: town\. Received: person, song$",
        ),
        (
            "source: {city: place, person: O}\ntarget: {town: O, person: human, song: O}",
            r"types\.yaml leaves no type of entities to tag: .* Received: \{'source': ",
        ),
    ],
)
def test_maps_that_do_not_fit(tmp_path, types, match):
    target = folder_of(tmp_path / "target", train=ROWS, test=ROWS)
    with pytest.raises(DataError, match=match):
        read(tmp_path, target, types)


def test_targets_that_cannot_be_used(tmp_path):
    with pytest.raises(DataError, match=r"No such file of unlabelled texts\. Received: .*none"):
        read(tmp_path, tmp_path / "none.txt")
    columns = write_conll(tmp_path / "columns.txt", sentences(4))
    with pytest.raises(DataError, match=r"call it NAME\.conll\. Received: .*columns\.txt', where"):
        read(tmp_path, columns)
    columns.write_text(f"-DOCSTART-\n# id 1\n{columns.read_text()}")
    with pytest.raises(DataError, match=r"call it NAME\.conll\. Received: .*columns\.txt', where"):
        read(tmp_path, columns)
    empty = tmp_path / "empty.txt"
    empty.write_text("\n \n")
    with pytest.raises(DataError, match=r"There is no text in the unlabelled source\. Received: "):
        read(tmp_path, empty)
    joint = write_slots(tmp_path / "joint", {name: sentences(20) for name in ("train", "test")})
    with pytest.raises(DataError, match=r"cannot have labels of their own .* Received: joint, wi"):
        read(tmp_path, joint)
    with pytest.raises(DataError, match=r"cannot have labels of their own .* Received: joint, wi"):
        read(tmp_path, columns.rename(tmp_path / "columns.conll"), source=joint)
