"""Small files of questions: SQuAD's JSON and QAMR's folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SENTENCES = {
    "Wiki1k:a:1": "Ada wrote the first program -LRB- in 1843 -RRB- .",
    "Wiki1k:a:2": "He said `` hello '' to Grace Hopper .",
    "Wiki1k:b:1": "The U.S. bought Alaska from Russia .",
    "Wiki1k:b:2": "Snow fell in May .",
}


def question(key: str, text: str, *answers: tuple[str, int], **more: Any) -> dict[str, Any]:
    found = [{"text": answer, "answer_start": start} for answer, start in answers]
    return {"id": key, "question": text, "answers": found, **more}


def article(*paragraphs: tuple[str, list[dict[str, Any]]]) -> dict[str, Any]:
    return {"title": "t", "paragraphs": [{"context": c, "qas": qas} for c, qas in paragraphs]}


def write_squad(path: Path, *articles: Any) -> Path:
    path.write_text(json.dumps({"version": "1.1", "data": list(articles)}), encoding="utf-8")
    return path


def numbered(contexts: int, questions: int = 2, word: str = "item") -> list[dict[str, Any]]:
    """Return articles of one paragraph, whose questions ask for the numbers in it."""
    articles = []
    for c in range(contexts):
        context = f"This is {word} {c} of the list and it has the colours red and blue ."
        start = context.index("red")
        qas = [
            question(f"{word}-{c}-{q}", f"Which colour {q} has {word} {c}?", ("red", start))
            for q in range(questions)
        ]
        articles.append(article((context, qas)))
    return articles


def unanswered(contexts: int) -> list[dict[str, Any]]:
    """Return articles with questions that their context has no answer to."""
    return [
        article(
            (
                f"The box {number} is empty .",
                [question(f"none-{number}", "Which animal is it?", is_impossible=True)],
            )
        )
        for number in range(contexts)
    ]


def qamr_row(
    sentence: str,
    text: str,
    answers: tuple[str, str, str],
    *,
    worker: int = 7,
    index: int = 0,
) -> str:
    first, second, third = answers
    return f"{sentence}\t1 2\t{worker}\t{index}\t1\t{text}\t{first}\t8:{second}\t9:{third}\n"


def write_qamr(folder: Path, sentences_in: Path | None = None, **splits: list[str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"{name}\t{sentence}" for name, sentence in SENTENCES.items()]
    target = (sentences_in or folder) / "wiki-sentences.tsv"
    target.write_text("\n".join(lines), encoding="utf-8")
    for split, rows in splits.items():
        (folder / f"{split}.tsv").write_text("".join(rows), encoding="utf-8")
    return folder
