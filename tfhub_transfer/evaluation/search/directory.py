"""The directory of a search: an ordinary run, and beside it what the search keeps of itself.

Where things are:

    DIR/                     the run of the best settings, with the first seed
    DIR/search/search.yaml   all settings of the search, as `--config` takes them
    DIR/search/rows.txt      a digest of the rows that trials are compared on
    DIR/search/trials/       Keras Tuner's files, and a directory for each trial
    DIR/search/trials.csv    report.html, plots/
    DIR/search/seeds/N/      the runs of the best settings, with the other seeds
    DIR/search/as_given/N/   the runs of the configuration as it was given
"""

from __future__ import annotations

import time
from pathlib import Path

import yaml

from tfhub_transfer.dotted import flat
from tfhub_transfer.errors import RunError
from tfhub_transfer.runs import SEARCH_SETTINGS, Run, as_yaml
from tfhub_transfer.training.search_settings import TuneConfig

__all__ = ["SETTINGS", "begin_search", "changed_settings", "check_rows", "open_search"]

SETTINGS = SEARCH_SETTINGS.name
_ROWS = "rows.txt"
# A search may go on with more of these.
_MAY_CHANGE = ("trials", "budget", "seeds", "compare")


def open_search(config: TuneConfig) -> tuple[Run, Run]:
    """Make the directory that `config` names, or accept the one that is there, as it is.

    Returns:
        The directory of the best run, and that of the search in it.

    Raises:
        RunError: something is there already and neither `resume` nor `overwrite` was asked for; or
            it is to be overwritten and is neither a search nor a run; or it is to be resumed with
            other settings.
    """
    path = config.directory or Path(f"runs/{time.strftime('%Y%m%d-%H%M%S')}")
    run, home = Run(path), Run(path / SEARCH_SETTINGS.parent)
    if path.exists() and not path.is_dir():
        raise RunError(f"The run directory must not be a file. Received: {path}")
    # a search that failed before it began leaves locks
    taken = any(entry.is_file() and entry.name != ".lock" for entry in path.rglob("*"))
    if config.resume:
        _check_resumable(config, home)
    elif taken and not config.overwrite:
        raise RunError(
            f"The run directory is not empty. Give another --run, or --resume to go on with the "
            f"search in it, or --overwrite to begin anew. Received: {path}"
        )
    elif taken and not (run.config_file.exists() or (home.path / SETTINGS).exists()):
        raise RunError(
            f"--overwrite empties only the directory of a search or of a run, with a "
            f"search/{SETTINGS} or a config.yaml in it. Received: {path}"
        )
    home.path.mkdir(parents=True, exist_ok=True)
    return run, home


def begin_search(config: TuneConfig, run: Run, home: Run, rows: str) -> None:
    """Write what repeats the search; what it overwrites is deleted here.

    Args:
        config: of the search.
        run: the directory of the best run.
        home: that of the search, with its lock held.
        rows: a digest of those that trials are compared on.

    Raises:
        RunError: another process is at work in a run that is to be overwritten.
    """
    if config.overwrite:
        with run.lock():
            run.empty(keep=(home.path.name,))
            home.empty()
    home.write_text(SETTINGS, as_yaml(config.settings()))
    home.write_text(_ROWS, f"{rows}\n")


def check_rows(home: Run, rows: str) -> None:
    """Check that trials would be compared on the rows that the search was begun with.

    Raises:
        RunError: they are others.
    """
    file = home.path / _ROWS
    if file.exists() and file.read_text(encoding="utf-8").strip() != rows:
        raise RunError(
            f"The rows are not those that this search was begun with, and scores on others cannot "
            f"be compared. Accepted: the data as they were, or another --run, or --overwrite. "
            f"Received: a digest other than that in {file}"
        )


def _check_resumable(config: TuneConfig, home: Run) -> None:
    file = home.path / SETTINGS
    if not file.exists():
        raise RunError(
            f"Nothing to resume: no {SETTINGS} in the directory's folder search. "
            f"Received: {home.path.parent}"
        )
    changed = changed_settings(config, home)
    if changed:
        raise RunError(
            f"A search is resumed with the settings it was begun with, but for "
            f"{', '.join(f'search.{one}' for one in _MAY_CHANGE)}: add --config {file}, or leave "
            f"out what differs. Received: {'; '.join(changed)}"
        )


def changed_settings(config: TuneConfig, home: Run) -> list[str]:
    """Return a text for each setting that differs from those that a search was begun with.

    Raises:
        RunError: the file of those cannot be read.
    """
    file = home.path / SETTINGS
    try:
        begun = flat(yaml.safe_load(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, yaml.YAMLError, AttributeError) as error:
        raise RunError(
            f"The search's settings cannot be read ({type(error).__name__}); --overwrite begins "
            f"anew. Received: {file}"
        ) from error
    wanted = flat(config.settings())
    return [
        f"{name} was {begun.get(name)!r}, received {value!r}"
        for name, value in wanted.items()
        if begun.get(name) != value and name not in [f"search.{one}" for one in _MAY_CHANGE]
    ]
