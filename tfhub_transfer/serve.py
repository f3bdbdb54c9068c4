"""`python -m tfhub_transfer.serve`: exported models answer in TensorFlow Serving's API."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from tfhub_transfer import cli
from tfhub_transfer.serving.ports import check_ports
from tfhub_transfer.serving.settings import ServeConfig


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to stop."""
    description = (
        "Serve exported models on this machine, with tensorflow_model_server's REST and gRPC APIs "
        "and its flags."
    )
    config = cli.parse("serve", description, ServeConfig, arguments)
    check_ports(config)
    os.environ.update(config.environment())
    cli.import_tensorflow()
    from tfhub_transfer.serving.server import serve

    return serve(config)


if __name__ == "__main__":
    sys.exit(cli.guarded(main))
