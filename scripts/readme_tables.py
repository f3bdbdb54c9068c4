"""Fills the README's tables from the measurements in `benchmarks/results/`.

    python scripts/readme_tables.py            # write
    python scripts/readme_tables.py --check    # exit with 1 where the README says something else

A table stands between two comments, and so does the marker that says what belongs there:

    <!-- table: encoders -->
    <!-- table: benchmarks/results/encode.md 2: Ratio of speeds in one round, Reached -->
    ...
    <!-- end of table -->

`encoders` is put together here from several files. A file's name, with the table's number in it (1
when not given) and maybe the columns, copies a table of that page.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from tfhub_transfer.encoders.catalogue import CATALOGUE

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
_MARKED = re.compile(
    r"(<!-- table: (\S+?)(?: (\d+))?(?:: ([^>]*?))? -->\n).*?(<!-- end of table -->)", re.DOTALL
)
_DATA = {
    "banking77": "banking77",
    "ag_news": "AG News (9,980 rows)",
    "clinc150": "CLINC150",
    "sst2": "SST-2",
    "imdb": "IMDB",
}
_STRATEGIES = {
    "feature_extraction": "frozen",
    "fine_tuning": "fine-tuned",
    "contrastive": "contrastive",
    "distillation": "distilled",
}
TFIDF = "TF-IDF + logistic regression"

Table = list[dict[str, str]]


def main() -> int:
    """Fill the tables, or look whether they are filled."""
    flags = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    flags.add_argument("--check", action="store_true", help="write nothing")
    check = flags.parse_args().check
    readme = ROOT / "README.md"
    before = readme.read_text(encoding="utf-8")
    after = filled(before)
    if check and before != after:
        print("README.md has other numbers than benchmarks/results/: make readme", file=sys.stderr)
        return 1
    if not check:
        readme.write_text(after, encoding="utf-8")
    return 0


def filled(text: str) -> str:
    """Return a page with each marked table made anew."""
    return _MARKED.sub(lambda found: found[1] + _table(found[2], found[3], found[4]) + found[5],
                       text)


def _table(name: str, number: str | None, columns: str | None) -> str:
    if name == "encoders":
        return _as_markdown(encoders())
    table = tables_in((ROOT / name).read_text(encoding="utf-8"))[int(number or 1) - 1]
    chosen = [column.strip() for column in columns.split(",")] if columns else list(table[0])
    return _as_markdown([{column: row[column] for column in chosen} for row in table])


def tables_in(page: str) -> list[Table]:
    """Return the Markdown tables of a page, each row by its column's heading."""
    tables: list[Table] = []
    for block in re.findall(r"(?:^\|.*\|$\n?)+", page, re.MULTILINE):
        heading, _, *rows = (_cells(line) for line in block.splitlines())
        tables.append([dict(zip(heading, row, strict=True)) for row in rows])
    return tables


def encoders() -> Table:
    """Return test accuracy by encoder and data set, beside TF-IDF on the same rows."""
    (measured, *_) = tables_in((RESULTS / "accuracy.md").read_text(encoding="utf-8"))
    rows: dict[str, dict[str, str]] = {TFIDF: {}}
    encoder_of: dict[str, str] = {}
    for row in measured:
        data = row["Data set"].partition("-")[0]
        name = f"`{row['Encoder']}`, {_STRATEGIES[row['Strategy']]}"
        if data in rows.get(name, ()):
            raise SystemExit(f"error: accuracy.md has two rows of {name} on {data}")
        encoder_of[name] = row["Encoder"]
        rows.setdefault(name, {})[data] = row["Accuracy"]  # as it is: rounded twice is wrong
        rows[TFIDF][data] = row["TF-IDF"]
    # all have the same number of digits, so that the largest text is the largest number
    best = {data: max(row.get(data, "") for row in rows.values()) for data in _DATA}
    speeds = _speeds()
    table: Table = []
    # by size, so that who reads down sees what more of it buys
    for name in sorted(rows, key=lambda name: (_size(encoder_of.get(name)), "frozen" not in name)):
        spec = CATALOGUE.get(encoder_of.get(name, ""))
        shown = {data: rows[name].get(data, "") for data in _DATA}
        table.append(
            {
                "Encoder": name,
                "Width": str(spec.width) if spec else "",
                "MB": str(spec.size_mb) if spec else "",
                "Texts/s*": speeds[spec.name] if spec else "",
            }
            | {
                heading: f"**{value}**" if value and value == best[data] else value
                for (data, heading), value in zip(_DATA.items(), shown.values(), strict=True)
            }
        )
    return table


def _size(encoder: str | None) -> int:
    return (CATALOGUE[encoder].size_mb or 0) if encoder else -1


def _speeds() -> dict[str, str]:
    """Return texts a second by encoder, in float32 and, where there is such, in bfloat16."""
    speeds = {}
    for name, file in {"minilm-l6": "encode.md", "minilm-static": "encode_static.md"}.items():
        (table, *_) = tables_in((RESULTS / file).read_text(encoding="utf-8"))
        ours = [row["Texts/s, median"] for row in table if row["Encoder"].startswith("ours")]
        speeds[name] = " / ".join(ours)
    return speeds


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]]


def _as_markdown(table: Table) -> str:
    lines = [
        f"| {' | '.join(table[0])} |",
        f"|{'---|' * len(table[0])}",
        *(f"| {' | '.join(row.values())} |" for row in table),
    ]
    return "".join(f"{line}\n" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
