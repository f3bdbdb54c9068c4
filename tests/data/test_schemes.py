"""Tags in three schemes, the entities they spell, and what broken ones mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfhub_transfer.data.schemes import (
    PREFIXES,
    Entity,
    SchemeEvidence,
    convert,
    entities,
    follows,
    problem,
    scheme_tags,
    write,
)

SCHEMES = sorted(PREFIXES)
# a word outside before the entity or none, its length, its type; one has a hyphen in it
PIECES = st.lists(
    st.tuples(st.integers(0, 2), st.integers(1, 4), st.sampled_from(["PER", "creative-work"])),
    max_size=6,
)
WELL_FORMED_OR_NOT = st.lists(st.sampled_from(scheme_tags(["A", "B"], "iobes")), max_size=12)
INSIDE = st.lists(st.sampled_from(scheme_tags(["A", "B"], "iob2")), max_size=12)


def laid_out(pieces) -> tuple[list[Entity], int]:
    found, position = [], 0
    for gap, size, type in pieces:
        found.append(Entity(type, position + gap, position + gap + size - 1))
        position += gap + size
    return found, position + 1


def evidence_of(*sentences: list[str]) -> SchemeEvidence:
    evidence = SchemeEvidence()
    for tags in sentences:
        evidence.add(tags)
    return evidence


@given(PIECES, st.sampled_from(SCHEMES))
def test_what_is_written_is_read_and_follows_its_scheme(pieces, scheme):
    found, length = laid_out(pieces)
    tags = write(found, length, scheme)
    assert len(tags) == length
    assert entities(tags) == found
    assert not any(problem(tag, scheme) for tag in tags)
    assert set(tags) <= set(scheme_tags(["PER", "creative-work"], scheme))
    evidence = evidence_of(tags)
    assert evidence.violations(scheme) == 0
    assert not found or evidence.scheme == scheme


@given(PIECES, st.sampled_from(SCHEMES), st.sampled_from(SCHEMES))
def test_there_and_back(pieces, scheme, other):
    tags = write(*laid_out(pieces), scheme)
    assert convert(convert(tags, other), scheme) == tags


@given(WELL_FORMED_OR_NOT, st.sampled_from(SCHEMES))
def test_a_broken_sequence_is_mended_and_keeps_its_entities(tags, scheme):
    mended = convert(tags, scheme)
    assert entities(mended) == entities(tags)
    assert evidence_of(mended).violations(scheme) == 0
    assert [tag == "O" for tag in mended] == [tag == "O" for tag in tags]


@given(INSIDE)
def test_only_files_without_entities_fit_iob1_and_iob2(tags):
    evidence = evidence_of(tags)
    fits = [evidence.violations("iob1") == 0, evidence.violations("iob2") == 0]
    assert all(fits) == (not entities(tags))


@pytest.mark.parametrize(
    ("tags", "spelt"),
    [
        ("I-A I-A B-A I-B", "A0-1 A2-2 B3-3"),  # IOB1
        ("B-A B-A I-A O B-B", "A0-0 A1-2 B4-4"),  # IOB2
        ("S-A B-A I-A E-A S-B", "A0-0 A1-3 B4-4"),  # IOBES
        # what conlleval makes of sequences that no scheme allows
        ("O I-A O", "A1-1"),
        ("B-A I-B I-B", "A0-0 B1-2"),
        ("I-A O I-A", "A0-0 A2-2"),
        ("E-A E-A", "A0-0 A1-1"),
        ("E-A I-A", "A0-0 A1-1"),
        ("S-A I-A", "A0-0 A1-1"),
        ("B-A O E-A", "A0-0 A2-2"),
        ("B-A S-A", "A0-0 A1-1"),
        ("I-A E-B", "A0-0 B1-1"),
        ("", ""),
    ],
)
def test_entities_by_hand(tags, spelt):
    found = entities(tags.split())
    assert " ".join(f"{e.type}{e.first}-{e.last}" for e in found) == spelt


@pytest.mark.parametrize(
    ("sentences", "scheme"),
    [
        (["I-A I-A O"], "iob1"),
        (["I-A B-A"], "iob1"),
        (["B-A I-A"], "iob2"),
        (["O B-A"], "iob2"),
        (["O O"], "iob2"),
        ([], "iob2"),
        (["S-A"], "iobes"),
        (["B-A E-A"], "iobes"),
        # one I- too many in a file in IOB2, one B- in one in IOB1
        (["B-A I-A", "B-B", "O I-B"], "iob2"),
        (["I-A I-A", "I-B", "O B-B"], "iob1"),
        (["O I-A", "O B-A"], "iob2"),
    ],
)
def test_the_scheme_is_seen_from_the_tags(sentences, scheme):
    assert evidence_of(*(tags.split() for tags in sentences)).scheme == scheme


def test_violations_are_counted():
    evidence = evidence_of(["O", "I-A", "I-B"], ["B-A", "B-A"])
    assert evidence.violations("iob2") == 2
    assert evidence.violations("iob1") == 1  # the second B- has an A before it
    assert evidence.violations("iobes") == 5  # and both sentences end within an entity


@pytest.mark.parametrize(
    ("before", "tag", "allowed"),
    [
        ("O", "B-A", "iob2 iobes"),
        ("O", "I-A", "iob1"),
        ("O", "S-A", "iobes"),
        ("I-A", "B-A", "iob1 iob2"),
        ("I-A", "I-A", "iob1 iob2 iobes"),
        ("I-A", "I-B", "iob1"),
        ("I-A", "O", "iob1 iob2"),
        ("B-A", "E-A", "iobes"),
        ("B-A", "E-B", ""),
        ("E-A", "O", "iobes iob1 iob2"),
    ],
)
def test_what_may_follow_what(before, tag, allowed):
    schemes = [s for s in SCHEMES if not (problem(tag, s) or problem(before, s))]
    found = {scheme for scheme in schemes if follows(before, tag, scheme)}
    assert found == set(allowed.split()) & set(schemes)


@pytest.mark.parametrize("tag", ["PER", "B", "B-", "", "X-PER", "b-PER", "B_PER", "OO"])
def test_what_is_no_tag(tag):
    assert problem(tag) == f"{tag!r} is no tag: expected O, B-TYPE, I-TYPE, E-TYPE, S-TYPE"


def test_a_tag_of_another_scheme():
    assert problem("S-PER", "iob2") == "'S-PER' is no tag of IOB2: expected O, B-TYPE, I-TYPE"
    assert problem("S-PER", "iobes") is None
    assert problem("O", "iob1") is None


def test_all_tags_of_a_scheme():
    assert scheme_tags(["X", "Y"], "iob2") == ("O", "B-X", "I-X", "B-Y", "I-Y")
    assert scheme_tags(["X"], "iobes") == ("O", "B-X", "I-X", "E-X", "S-X")
