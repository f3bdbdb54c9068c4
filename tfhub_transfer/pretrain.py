"""`python -m tfhub_transfer.pretrain swivel|nnlm|mlm`: plain text in, an encoder out."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence

from tfhub_transfer import cli
from tfhub_transfer.pretraining.mlm.settings import MlmConfig
from tfhub_transfer.pretraining.nnlm.settings import NnlmConfig
from tfhub_transfer.pretraining.settings import PretrainingConfig
from tfhub_transfer.pretraining.swivel.settings import SwivelConfig
from tfhub_transfer.registry import PRETRAINERS

# What each may be told; the trainers are in `registry.PRETRAINERS`.
SETTINGS: dict[str, type[PretrainingConfig]] = {
    "swivel": SwivelConfig,
    "nnlm": NnlmConfig,
    "mlm": MlmConfig,
}
_SHORT_FLAGS = {"--from": "--continue_from"}  # `from` cannot be a name in Python
_KINDS = {
    "swivel": "word vectors from co-occurrences",
    "nnlm": "word vectors of a feed-forward language model",
    "mlm": "a transformer, from scratch or continued, by masked words",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Pre-train as the flags say and print what to do next."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if not arguments or arguments[0] in ("-h", "--help"):
        usage = f"usage: python -m tfhub_transfer.pretrain {{{','.join(PRETRAINERS)}}} [--help]"
        print("\n  ".join([usage, *(f"{kind:8}{text}" for kind, text in _KINDS.items())]))
        raise SystemExit(0 if arguments else cli.FAILED)
    kind, *flags = arguments
    PRETRAINERS.check(kind)
    config = cli.parse(
        f"pretrain {kind}",
        f"Pre-train {_KINDS[kind]}.",
        SETTINGS[kind],
        flags,
        short={name: flag for name, flag in _SHORT_FLAGS.items() if kind == "mlm"},
    )
    # Wrong flags should take no import of pyarrow, and a taken directory none of TensorFlow.
    from tfhub_transfer.pretraining.run_directory import PretrainingRun

    PretrainingRun.named_by(config)
    cli.import_tensorflow()
    module = shlex.quote(str(PRETRAINERS.load(kind)(config) / "module"))
    print(f"next: python -m tfhub_transfer.train --encoder.name {module} --data.source SOURCE")
    probe = "" if kind == "mlm" else " --neighbours WORD"
    print(f"      python -m tfhub_transfer.encoders info {module}{probe}")
    return 0


if __name__ == "__main__":
    sys.exit(cli.guarded(main))
