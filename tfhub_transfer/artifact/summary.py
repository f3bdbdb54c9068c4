"""What a person sees at the end of an export, and types next."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tfhub_transfer.artifact.writer import Export

_EXAMPLE = '{"instances": ["a text of yours"]}'


def print_export(export: Export) -> None:
    """Print what was written, what was measured on it, and how it is served."""
    console = Console()
    metrics = export.metrics
    table = Table(title=f"{metrics['name']}, version {metrics['version']}", title_justify="left")
    table.add_column("what")
    table.add_column("validation", justify="right")
    table.add_column("test", justify="right")
    for name, validation, test in _rows(metrics["calibration"]):
        table.add_row(name, validation, test)
    console.print(table)
    size, parity = metrics["size"], metrics["parity"]
    lines = [
        f"{size['bytes'] / 1e6:,.1f} MB, {size['bytes'] / size['weights_bytes']:.3f} times its "
        f"weights",
        f"answers as the trained model on {parity['texts']} texts, to {parity['difference']:.1e}, "
        f"in a fresh process",
        f"TensorFlow Serving {metrics['serving_version']} has all its ops"
        if metrics["audited"]
        else f"TensorFlow Serving {metrics['serving_version']} was not asked about its ops",
        *(f"kept as you changed it: {file}; ours is {file.name}.new" for file in export.kept),
        *metrics["calibration"]["notes"],
        f"written: {export.path}",
    ]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    base = shlex.quote(str(export.path.parent))
    url = f"http://127.0.0.1:8501/v1/models/{metrics['name']}:predict"
    console.print(
        f"\nnext: python -m tfhub_transfer.serve --model_name {metrics['name']} "
        f"--model_base_path {base}\n"
        f"      curl -d '{_EXAMPLE}' {url}\n"
        f"      {_deployment(export.path.parent)} has the files for TensorFlow Serving itself",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def _deployment(directory: Path) -> Path:
    return directory / "deploy" / "README.md"


def _rows(calibration: dict[str, Any]) -> list[tuple[str, str, str]]:
    validation, test = calibration["validation"], calibration["test"]
    rows = [
        ("rows", f"{validation['n']:,}", f"{test['n']:,}"),
        ("calibration error, before", *_both(validation, test, "ece_before")),
    ]
    if calibration["temperature"] != 1.0:
        after = f"calibration error, temperature {calibration['temperature']:.3f}"
        rows.append((after, *_both(validation, test, "ece_after")))
    if calibration["threshold"] is not None:
        threshold = f"score {calibration['threshold']:.3f} or more"
        rows += [
            (f"right, of the labels given ({threshold})", *_both(validation, test, "precision")),
            ("texts that get a label", *_both(validation, test, "coverage")),
        ]
    return rows


def _both(validation: dict[str, Any], test: dict[str, Any], name: str) -> tuple[str, str]:
    return _number(validation[name]), _number(test[name])


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"
