"""`python -m tfhub_transfer.export`: a trained run becomes what TensorFlow Serving loads."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from tfhub_transfer import cli
from tfhub_transfer.artifact.settings import ExportConfig


def main(arguments: Sequence[str] | None = None) -> int:
    """Export a run, or audit a SavedModel; 1 says that the audit found something."""
    description = "Export a trained run as a SavedModel that TensorFlow Serving loads as it is."
    config = cli.parse("export", description, ExportConfig, arguments)
    cli.import_tensorflow()
    if config.audit is not None:
        from tfhub_transfer.artifact.audit import print_audit

        return 1 if print_audit(Path(config.audit), config.serving_version) else 0
    from tfhub_transfer.artifact.conversion import print_conversion
    from tfhub_transfer.artifact.summary import print_export
    from tfhub_transfer.artifact.writer import export_run

    export = export_run(config)
    for conversion in export.conversions:
        print_conversion(conversion)
    print_export(export)
    return 0


if __name__ == "__main__":
    sys.exit(cli.guarded(main))
