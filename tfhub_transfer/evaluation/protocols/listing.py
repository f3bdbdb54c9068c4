"""Which cells of a protocol there are, and how far each of them is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from tfhub_transfer.errors import RunError
from tfhub_transfer.evaluation.protocols.grid import Cell, Protocol
from tfhub_transfer.runs import Run, config_from_dict, settings_of

__all__ = ["conflicts", "is_finished", "print_cells", "state"]


def state(cell: Cell, output: Path) -> Literal["finished", "begun", "missing"]:
    """Return how far a cell is in the directory of its protocol."""
    run = Run(output / cell.path)
    if not run.config_file.exists():
        return "missing"
    try:
        finished = run.load_metrics()["finished"]
    except (RunError, json.JSONDecodeError, KeyError):
        return "begun"
    return "finished" if finished else "begun"


def is_finished(cell: Cell, output: Path) -> bool:
    """Whether the cell's measures are whole."""
    return state(cell, output) == "finished"


def conflicts(cells: Sequence[Cell], output: Path) -> dict[Path, str]:
    """Return the paths of cells where a run of other settings is, and the first of those."""
    found = {}
    for cell in cells:
        run = Run(output / cell.path)
        if run.config_file.exists():
            was = settings_of(config_from_dict(run.load_config()))
            wanted = settings_of(cell.config)
            if changed := [key for key in wanted if was[key] != wanted[key]]:
                key = changed[0]
                found[cell.path] = f"{key} was {was[key]!r}, received {wanted[key]!r}"
    return found


def print_cells(protocol: Protocol, output: Path) -> None:
    """Print each cell's directory and state, and how many there are."""
    cells = protocol.cells()
    other = conflicts(cells, output)
    states = ["conflict" if cell.path in other else state(cell, output) for cell in cells]
    for cell, reached in zip(cells, states, strict=True):
        why = f" ({other[cell.path]})" if cell.path in other else ""
        print(f"{reached:8}  {output / cell.path}{why}")
    baselines = sum(cell.is_baseline for cell in cells)
    print(
        f"{len(cells)} cells: {len(cells) - baselines} runs and {baselines} baselines; "
        f"{states.count('finished')} are finished, {states.count('begun')} begun"
    )
