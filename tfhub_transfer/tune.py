"""`python -m tfhub_transfer.tune`: a search for settings, the best of them trained and measured."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tfhub_transfer import cli
from tfhub_transfer.training.search_settings import SHORT_FLAGS, TuneConfig


def main(arguments: Sequence[str] | None = None) -> int:
    """Search as the flags say and print what it was worth."""
    description = "Search for settings with Keras Tuner, and train a classifier with the best."
    config = cli.parse("tune", description, TuneConfig, arguments, short=SHORT_FLAGS)
    if config.dry_run:
        print(config.space())
        return 0

    config.check_address()
    # Imported here: TensorFlow takes seconds, and help and wrong flags should not.
    cli.import_tensorflow()
    if config.distributed == "worker":
        from tfhub_transfer.evaluation.search.distributed import work

        work(config)
        return 0
    from tfhub_transfer.evaluation.search.page import print_search
    from tfhub_transfer.evaluation.search.running import search

    print_search(search(config))
    return 0


if __name__ == "__main__":
    sys.exit(cli.guarded(main))
