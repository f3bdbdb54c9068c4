"""A long array is read an element at a time, and what is broken is found where it is broken."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfhub_transfer.data import json_stream
from tfhub_transfer.data.json_stream import elements
from tfhub_transfer.errors import UnreadableFileError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


def write(folder: Path, content: str) -> Path:
    path = folder / "file.json"
    path.write_bytes(content.encode("utf-8", errors="surrogatepass"))
    return path


@pytest.mark.parametrize("block", [1, 7, 1 << 20])
@settings(max_examples=40, deadline=None)
@given(st.lists(VALUES, max_size=5), st.integers(0, 2), st.booleans())
def test_the_elements_are_those_that_json_reads(tmp_path_factory, block, items, indent, first):
    other = {"version": "1.1", "more": {"data": [1]}}
    found = {"data": items, **other} if first else {**other, "data": items}
    path = write(tmp_path_factory.mktemp("json"), json.dumps(found, indent=indent or None))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "_BLOCK", block)
        assert list(elements(path, "data")) == items


def test_a_number_that_two_blocks_share(tmp_path, monkeypatch):
    monkeypatch.setattr(json_stream, "_BLOCK", 1)
    assert list(elements(write(tmp_path, '{"data":[1234,-5.25e2]}'), "data")) == [1234, -525.0]


def test_compressed_and_with_a_byte_order_mark(tmp_path):
    path = tmp_path / "file.json.gz"
    path.write_bytes(gzip.compress(b'\xef\xbb\xbf {"data": ["\xc3\xa4"]}\n'))
    assert list(elements(path, "data")) == ["ä"]


def test_elements_come_before_the_file_was_read(tmp_path, monkeypatch):
    monkeypatch.setattr(json_stream, "_BLOCK", 1000)
    path = write(tmp_path, '{"data": [' + '"x", ' * 1000 + "oops")
    stream = elements(path, "data")
    assert [next(stream) for _ in range(1000)] == ["x"] * 1000
    with pytest.raises(UnreadableFileError, match=r"data\[1000\]"):
        next(stream)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("", r'line 1: expected an object with the key "data". Received: the end of the file'),
        ("[1]", r"line 1: expected an object with the key .* Received: '\[1\]'"),
        ('{"version": 1}', r'should have the key "data", .* Received: an object without it'),
        ('{"data": {"a": 1}}', r'line 1: expected an array under "data". Received: \'{"a": 1}}'),
        ('{"data": [1,\n2,\n oops]}', r"line 3, data\[2\]: expected JSON .*Received: 'oops]}'"),
        ('{"data": [{"a": 1,\n "b"}]}', r"line 2, data\[0\]: expected JSON \(Expecting ':'"),
        ('{"data": [1, 2', r'line 1: expected a comma or "]" .* Received: the end of the file'),
        ('{"data": [1]', r'expected a comma or "}". Received: the end of the file'),
        ('{"data": [1]} x', r"expected nothing after the outermost object. Received: 'x'"),
        ('{"data" [1]}', r"expected a colon after the key"),
        ("{1: 2}", r"expected a key in double quotes. Received: ': 2}'"),
        ('{"data": ["' + "[" * 3, r"line 1, data\[0\]: expected JSON \(Unterminated string"),
    ],
)
def test_what_is_broken_is_told_with_its_line(tmp_path, content, text):
    with pytest.raises(UnreadableFileError, match=rf"file\.json.*{text}"):
        list(elements(write(tmp_path, content), "data"))


def test_what_stands_before_the_break_was_read(tmp_path):
    stream = elements(write(tmp_path, '{"data": [1, 2, }'), "data")
    assert [next(stream), next(stream)] == [1, 2]
    with pytest.raises(UnreadableFileError, match=r"data\[2\]: expected JSON .*Received: '}'"):
        next(stream)


def test_lines_are_counted_over_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(json_stream, "_BLOCK", 3)
    path = write(tmp_path, '{"data": [' + "1,\n" * 500 + "oops]}")
    with pytest.raises(UnreadableFileError, match=r"line 501, data\[500\]"):
        list(elements(path, "data"))


def test_bytes_that_are_no_utf8(tmp_path):
    path = tmp_path / "file.json"
    path.write_bytes(b'{"data": ["caf\xe9"]}')
    with pytest.raises(UnreadableFileError, match=r"file\.json: not UTF-8, because of byte 0xe9"):
        list(elements(path, "data"))


def test_a_damaged_archive(tmp_path):
    path = tmp_path / "file.json.gz"
    path.write_bytes(gzip.compress(b'{"data": [1]}')[:-6])
    with pytest.raises(UnreadableFileError, match=r"file\.json\.gz.* Received: "):
        list(elements(path, "data"))


def test_nesting_without_end(tmp_path):
    path = write(tmp_path, '{"data": [' + "[" * 100_000)
    with pytest.raises(UnreadableFileError, match=r"data\[0\]: expected JSON \(.*recursion"):
        list(elements(path, "data"))
