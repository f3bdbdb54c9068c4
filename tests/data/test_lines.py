"""Text to label: lines, CSV, TSV, JSONL."""

from __future__ import annotations

import io

import pytest

from tfhub_transfer.data.lines import batched, read_records
from tfhub_transfer.errors import DataError, MissingColumnError, TransferError, UnreadableFileError


def read(content: str | bytes, format: str, column: str = "text") -> list[tuple[dict, str]]:
    content = content.encode() if isinstance(content, str) else content
    stream = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig", newline="")
    return list(read_records(stream, format, column, "some.file"))


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        ("", []),
        ("one\ntwo", ["one", "two"]),
        ("one\r\ntwo\r\n", ["one", "two"]),
        ("one\n\n two\t \n", ["one", "", " two\t "]),
        ("\ufeffone\n", ["one"]),
        ('a "quoted", line\n', ['a "quoted", line']),
        ("next\u2028line\x0bfeed\n", ["next\u2028line\x0bfeed"]),
    ],
)
def test_lines(content, texts):
    assert read(content, "lines") == [({"text": text}, text) for text in texts]


@pytest.mark.parametrize(("format", "mark"), [("csv", ","), ("tsv", "\t")])
def test_columns(format, mark):
    content = f'id{mark}review\r\n1{mark}"two\nlines{mark} and ""quotes"""\r\n2{mark}naïve\r\n'
    records = read(content, format, "review")
    assert [text for _, text in records] == [f'two\nlines{mark} and "quotes"', "naïve"]
    assert records[1][0] == {"id": "2", "review": "naïve"}


@pytest.mark.parametrize("content", ["", "text,id\n", "\ufefftext,id\n"])
def test_no_rows(content):
    assert read(content, "csv") == []


def test_a_byte_order_mark_is_no_part_of_a_column_s_name():
    assert read("\ufefftext,id\na,1\n", "csv") == [({"text": "a", "id": "1"}, "a")]


def test_json_lines_keep_every_value():
    content = '{"text": "a", "n": {"x": [1, null]}}\n\n  \n{"text": "\\ud83d\\ude00"}\n'
    assert read(content, "jsonl") == [
        ({"text": "a", "n": {"x": [1, None]}}, "a"),
        ({"text": "😀"}, "😀"),
    ]


@pytest.mark.parametrize(
    ("content", "format", "error", "text"),
    [
        (
            "id,review\n1,a\n",
            "csv",
            MissingColumnError,
            r"some\.file has no column 'text' in row 1\. Give --text_column\. "
            r"Accepted: 'id', 'review'\. Received: 'text'",
        ),
        ('{"text": "a"}\n{"body": "b"}\n', "jsonl", MissingColumnError, r"in row 2.*'body'"),
        ('{"text": "a"}\n{"text": 3}\n', "jsonl", DataError, r"row 2: .*string\. Received: 3"),
        ('{"text": null}\n', "jsonl", DataError, r"row 1: .*string\. Received: None"),
        (
            '{"text": "a"}\n\n{"text": \n',
            "jsonl",
            UnreadableFileError,
            r"some\.file, row 3 is no JSON \(Expecting value, column \d+\)\. Received",
        ),
        ("[1, 2]\n", "jsonl", UnreadableFileError, r"row 1: .*JSON object\. Received: '\[1, 2\]"),
        (
            '{"text": "\\ud800"}\n',
            "jsonl",
            UnreadableFileError,
            r"row 1: .*half a surrogate pair.*'\\ud800'",
        ),
        (
            "text,id\na,1\nb,2,3\n",
            "csv",
            UnreadableFileError,
            r"row 2 has not as many cells as the header, which has 2\. Received: \['b', '2'",
        ),
        ("text,id\na\n", "csv", UnreadableFileError, r"row 1 has not as many cells"),
        ('text\na\n"b\n', "csv", UnreadableFileError, r"after row 1: unexpected end of data"),
        (
            b"text\ngood\nb\xe9te\n",
            "csv",
            UnreadableFileError,
            r"some\.file is not UTF-8 after row \d: .*Received: byte 0xe9",
        ),
        (b"good\nb\xe9te\n", "lines", UnreadableFileError, r"not UTF-8 .*byte 0xe9"),
    ],
)
def test_what_is_wrong_is_told_with_its_row(content, format, error, text):
    with pytest.raises(error, match=text):
        read(content, format)


def test_what_came_before_an_error_was_yielded():
    stream = io.StringIO('{"text": "a"}\nnonsense\n')
    records = read_records(stream, "jsonl", "text", "x")
    assert next(records)[1] == "a"
    with pytest.raises(TransferError, match="row 2"):
        next(records)


def test_nothing_is_read_ahead():
    read_so_far = []

    def lines():
        for number in range(5):
            read_so_far.append(number)
            yield f"line {number}\n"

    groups = batched(read_records(lines(), "lines", "text", "x"), 2)
    assert read_so_far == []
    assert [text for _, text in next(groups)] == ["line 0", "line 1"]
    assert read_so_far == [0, 1]
    assert [len(group) for group in groups] == [2, 1]


@pytest.mark.parametrize(
    ("count", "size", "sizes"), [(0, 3, []), (3, 3, [3]), (4, 3, [3, 1]), (2, 1, [1, 1])]
)
def test_batches(count, size, sizes):
    assert [len(batch) for batch in batched(range(count), size)] == sizes
