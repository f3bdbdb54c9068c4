"""Which tag may follow which, and what is made of sequences that break the rule."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tfhub_transfer.heads.tag_grammar import make_repair, may_follow, parts_of

IOB2 = ("O", "B-a", "I-a", "B-b", "I-b")
IOBES = ("O", *(f"{prefix}-{kind}" for kind in "ab" for prefix in "BIES"))


@pytest.mark.parametrize(
    ("label", "scheme", "expected"),
    [
        ("B-from.city-name", "iob2", ("B", "from.city-name")),
        ("S-a", "iobes", ("S", "a")),
        ("S-a", "iob2", ("O", "")),
        ("O", "iob2", ("O", "")),
        ("NN", "iob2", ("O", "")),
        ("BI-a", "iob2", ("O", "")),
        ("B-", "iob2", ("O", "")),
    ],
)
def test_the_parts_of_a_tag(label, scheme, expected):
    assert parts_of(label, scheme) == expected


def legal(path: str, labels: tuple[str, ...], scheme: str) -> bool:
    """Return whether `may_follow` lets a sequence of tags pass."""
    allowed = may_follow(labels, scheme)
    edge = len(labels)
    places = [edge, *(labels.index(tag) for tag in path.split()), edge]
    return all(allowed[pair] for pair in itertools.pairwise(places))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("O B-a I-a I-a B-a O", True),
        ("B-a B-b", True),
        ("I-a", False),
        ("O I-a", False),
        ("B-a I-b", False),
        ("B-a O I-a", False),
    ],
)
def test_iob2(path, expected):
    assert legal(path, IOB2, "iob2") is expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("O B-a I-a E-a S-b S-b O", True),
        ("B-a E-a B-a E-a", True),
        ("B-a", False),
        ("B-a O", False),
        ("B-a S-a", False),
        ("B-a B-a E-a", False),
        ("B-a E-b", False),
        ("B-a I-a", False),
        ("E-a", False),
        ("S-a I-a E-a", False),
    ],
)
def test_iobes(path, expected):
    assert legal(path, IOBES, "iobes") is expected


def repaired(path: str, labels: tuple[str, ...], scheme: str) -> str:
    tags = np.int32([[labels.index(tag) for tag in path.split()] + [0, 1]])
    answer = make_repair(labels, scheme)(tags, np.int32([tags.shape[1] - 2])).numpy()[0]
    assert (answer[-2:] == -1).all()
    return " ".join(labels[tag] for tag in answer[:-2])


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("I-a", "B-a"),
        ("O I-a I-a O I-b", "O B-a I-a O B-b"),
        ("B-a I-b I-b", "B-a B-b I-b"),
        ("B-a I-a B-a", "B-a I-a B-a"),
    ],
)
def test_repairs_of_iob2(path, expected):
    assert repaired(path, IOB2, "iob2") == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("B-a", "S-a"),
        ("I-a I-a", "B-a E-a"),
        ("B-a E-b", "S-a S-b"),
        ("B-a E-a E-a", "B-a E-a S-a"),
        ("S-a E-a", "S-a S-a"),
        ("B-a I-a O E-b", "B-a E-a O S-b"),
        ("B-a S-a", "S-a S-a"),
    ],
)
def test_repairs_of_iobes(path, expected):
    assert repaired(path, IOBES, "iobes") == expected


def entities(path: str) -> list[tuple[str, int, int]]:
    """Return type, first and last word of each entity, word by word, as seqeval reads a path."""
    found: list[list] = []
    before = ("O", "")
    for place, tag in enumerate(path.split()):
        prefix, kind = (tag[0], tag[2:]) if tag != "O" else ("O", "")
        if prefix != "O":
            if prefix in "BS" or before[0] in "OES" or before[1] != kind:
                found.append([kind, place, place])
            found[-1][2] = place
        before = prefix, kind
    return [tuple(one) for one in found]


@pytest.mark.parametrize(("labels", "scheme"), [(IOB2, "iob2"), (IOBES, "iobes")])
def test_a_repair_is_legal_and_loses_no_entity(labels, scheme):
    draw = np.random.default_rng(0)
    for _ in range(300):
        path = " ".join(draw.choice(labels, draw.integers(1, 7)))
        answer = repaired(path, labels, scheme)
        assert entities(answer) == entities(path)
        assert legal(answer, labels, scheme)
        assert repaired(answer, labels, scheme) == answer


def test_a_tag_that_the_labels_lack_is_not_made():
    assert repaired("O I-a", ("O", "I-a"), "iob2") == "O I-a"
