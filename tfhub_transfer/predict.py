"""`python -m tfhub_transfer.predict`: a trained run labels new text, or answers questions."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tfhub_transfer import cli


@dataclass(frozen=True)
class PredictConfig:
    """What to label, and with which run.

    Attributes:
        run: the directory of a finished run.
        input: a file of lines, CSV, TSV or JSONL (by its suffix), or `-` for standard input.
        output: a file, or `-` for standard output.
        input_format: when the suffix does not tell; standard input is `lines`.
        output_format: of what is written; when not given, `csv` for a `.csv` file, else `jsonl`.
            Of a tagger, CSV has the entities as JSON in one column, and JSONL the words too. Of a
            model of answers, CSV has the best, and JSONL the others too.
        text_column: the column of texts in CSV, TSV and JSONL; that of the run's own data when
            not given.
        question_column: that of questions, where the run answers them; `question` when not given.
        context_column: that of the texts they are asked on; `context` when not given.
        batch_size: texts labelled together; with 1 each line is answered as it comes.
    """

    run: str
    input: str = "-"
    output: str = "-"
    input_format: Literal["lines", "csv", "tsv", "jsonl"] | None = None
    output_format: Literal["jsonl", "csv"] | None = None
    text_column: str | None = None
    question_column: str | None = None
    context_column: str | None = None
    batch_size: int = 256


def main(arguments: Sequence[str] | None = None) -> int:
    """Label the input's texts."""
    description = "Label text with a trained run; writes each record with what the model says."
    config = cli.parse("predict", description, PredictConfig, arguments)
    cli.import_tensorflow()
    from tfhub_transfer.evaluation.labelling import label_stream

    records = label_stream(**vars(config))
    if config.output != "-":
        print(f"{records:,} texts labelled: {config.output}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(cli.guarded(main))
