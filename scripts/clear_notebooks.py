"""Takes out of the lessons what running them has put in; the whole of `make clear-notebooks`."""

from __future__ import annotations

from pathlib import Path

import nbformat

FOLDER = Path(__file__).parents[1] / "notebooks"


def cleared(text: str) -> str:
    """Return a notebook as it is kept in git.

    Args:
        text: of the file, in notebook format 4.
    """
    notebook = nbformat.reads(text, as_version=4)
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return nbformat.writes(notebook).rstrip("\n") + "\n"


def main() -> None:
    """Clear every lesson, and name those that had something in them."""
    for path in sorted(FOLDER.glob("*.ipynb")):
        before = path.read_text(encoding="utf-8")
        after = cleared(before)
        if after != before:
            path.write_text(after, encoding="utf-8")
            print(f"cleared {path.name}")


if __name__ == "__main__":
    main()
