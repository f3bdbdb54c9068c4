"""What a person sees at the end of an export, and types next."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from rich.console import Console

from tfhub_transfer.artifact.writer import Export
from tfhub_transfer.registry import EXPORTS


def print_export(export: Export) -> None:
    """Print what was written, what was measured on it, and how it is served."""
    console = Console()
    metrics = export.metrics
    task = EXPORTS.load(metrics["task"])
    table = task.table(metrics)
    table.title, table.title_justify = f"{metrics['name']}, version {metrics['version']}", "left"
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
        *metrics.get("calibration", {}).get("notes", ()),
        f"written: {export.path}",
    ]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    base = shlex.quote(str(export.path.parent))
    url = f"http://127.0.0.1:8501/v1/models/{metrics['name']}:predict"
    console.print(
        f"\nnext: python -m tfhub_transfer.serve --model_name {metrics['name']} "
        f"--model_base_path {base}\n"
        f"      curl -d '{json.dumps({'instances': [task.example]})}' {url}\n"
        f"      {_deployment(export.path.parent)} has the files for TensorFlow Serving itself",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def _deployment(directory: Path) -> Path:
    return directory / "deploy" / "README.md"
