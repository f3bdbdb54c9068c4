"""The encoders of this machine: list, info, fetch, bundle, build.

TensorFlow takes seconds to import, so it is only where an encoder is loaded or built.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from rich.console import Console
from rich.table import Table

from tfhub_transfer.cli import Parser, guarded, import_tensorflow
from tfhub_transfer.encoders.building import build_bert, build_static
from tfhub_transfer.encoders.bundle import bundle, unbundle
from tfhub_transfer.encoders.catalogue import CATALOGUE, EncoderSpec
from tfhub_transfer.encoders.handles import built_dir, packaged_archive, place
from tfhub_transfer.encoders.resolve import Encoder, resolve
from tfhub_transfer.errors import EncoderError, UnknownNameError
from tfhub_transfer.registry import did_you_mean

KINDS = ("text_embedding", "transformer")
# Columns of a table that goes to a file or a pipe, where nothing should be cut off.
_PIPED_WIDTH = 250
_MB = 1e6


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        arguments: the command line after the program's name; this process's when not given.
    """
    parsed = _parser().parse_args(arguments)
    command = parsed.command
    return guarded(lambda: _COMMANDS[command](parsed[command]))


def _parser() -> Parser:
    offline_help = "never open a socket"
    names_help = "names of the catalogue, handles or paths"
    parser = _new_parser(str(__doc__), prog="python -m tfhub_transfer.encoders")
    commands = parser.add_subcommands(dest="command")

    command = _new_parser("List the encoders that have a name.")
    command.add_argument("--language", help="only those for a language, by its ISO 639-1 code")
    command.add_argument("--kind", choices=KINDS, help="only those of a kind")
    commands.add_subcommand("list", command, help="list the encoders that have a name")

    command = _new_parser("Show an encoder's record, files and weights.")
    command.add_argument("name", help="a name of the catalogue, a handle or a path")
    command.add_argument("--offline", action="store_true", help=offline_help)
    command.add_argument(
        "--neighbours",
        nargs="+",
        metavar="WORD",
        default=[],
        help="of a text embedding with a vocabulary: the words whose vectors are nearest",
    )
    command.add_argument(
        "--analogy",
        nargs=3,
        metavar=("A", "B", "C"),
        help="likewise: A is to B as C is to which words",
    )
    commands.add_subcommand("info", command, help="show an encoder's record, files and weights")

    command = _new_parser("Bring encoders into this machine's cache.")
    command.add_argument("names", nargs="*", help=names_help)
    command.add_argument("--from", metavar="BUNDLE", help="a file that `bundle` wrote")
    commands.add_subcommand("fetch", command, help="bring encoders into this machine's cache")

    command = _new_parser("Pack encoders for a machine without network.")
    command.add_argument("names", nargs="+", help=names_help)
    command.add_argument("--to", metavar="FILE", required=True, help="the tar file to write")
    command.add_argument("--offline", action="store_true", help=offline_help)
    commands.add_subcommand("bundle", command, help="pack encoders into one file")

    command = _new_parser(
        "Make a transformer from a BERT checkpoint, or distil a static embedding."
    )
    command.add_argument(
        "name",
        help="minilm-l6, whose weights are verified; minilm-static; or, with --to, any name for a "
        "BERT checkpoint of your own",
    )
    command.add_argument(
        "--checkpoint",
        metavar="PATH",
        help="a BERT checkpoint: a directory in Hugging Face layout (config.json, vocab.txt, "
        "model.safetensors), or a .whl or .zip with one in it",
    )
    command.add_argument(
        "--to",
        metavar="PATH",
        help="a new or empty directory; for minilm-static also a .tar.xz, beside which its "
        ".sha256 is written. Without it minilm-l6 goes into this machine's cache",
    )
    command.add_argument(
        "--from", metavar="NAME", help="what minilm-static is distilled from: minilm-l6 by default"
    )
    command.add_argument("--width", type=int, help="of minilm-static's vectors: 256 by default")
    command.add_argument("--offline", action="store_true", help=offline_help)
    commands.add_subcommand("build", command, help="make an encoder on this machine")
    return parser


def _new_parser(description: str, **keywords: Any) -> Parser:
    return Parser(description=description, allow_abbrev=False, **keywords)


def _list(arguments: Namespace) -> int:
    specs = [spec for spec in CATALOGUE.values() if arguments.kind in (None, spec.kind)]
    if wanted := arguments.language:
        known = sorted({code for spec in CATALOGUE.values() for code in spec.languages})
        if wanted not in known:
            raise UnknownNameError(
                f"No encoder names this language.{did_you_mean(wanted, known)} "
                f"Accepted: {', '.join(known)}. Received: {wanted!r}"
            )
        specs = [spec for spec in specs if {wanted, "multi"} & {*spec.languages}]
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("name", "kind", "width", "languages", "licence", "MB", "here"):
        is_number = title in ("width", "MB")
        table.add_column(title, justify="right" if is_number else "left", no_wrap=True)
    for spec in specs:
        size = "" if spec.size_mb is None else str(spec.size_mb)
        here = "yes" if _is_here(spec) else "no"
        languages = " ".join(spec.languages)
        table.add_row(spec.name, spec.kind, str(spec.width), languages, spec.licence, size, here)
    _console().print(table)
    return 0


def _is_here(spec: EncoderSpec) -> bool:
    """Whether the files are on this machine; whether they are whole, `resolve` says."""
    if spec.built:
        return packaged_archive(spec.name).exists() or built_dir(spec.name).exists()
    return all(place(handle).exists() for handle in (spec.handle, spec.preprocess) if handle)


def _info(arguments: Namespace) -> int:
    encoder = resolve(arguments.name, offline=arguments.offline)
    import_tensorflow()
    from tfhub_transfer.encoders.layer import HubLayer

    layer = HubLayer(encoder)
    facts = Table(box=None, show_header=False, pad_edge=False)
    facts.add_column(style="bold")
    facts.add_column(overflow="fold")
    for name, value in {**_facts(encoder), **_loaded_facts(layer)}.items():
        facts.add_row(name, str(value))
    groups = Table(box=None, header_style="bold", pad_edge=False)
    groups.add_column("weights", no_wrap=True)
    groups.add_column("numbers", justify="right")
    groups.add_column("paths in it", overflow="fold")
    above = None
    for group, weights in _groups(layer.movable).items():
        inside = ", ".join(weight.path.removeprefix(f"{group}/") for weight in weights)
        numbers = sum(weight.value.shape.num_elements() for weight in weights)
        groups.add_row(group, f"{numbers:,}", "(as above)" if inside == above else inside)
        above = inside
    console = _console()
    console.print(facts)
    console.print("\nFor --training.trainable, a regular expression on the paths:\n")
    console.print(groups, markup=False)
    if arguments.neighbours or arguments.analogy:
        from tfhub_transfer.encoders.probes import probe_table

        console.print()
        console.print(probe_table(layer, arguments.neighbours, arguments.analogy))
    return 0


def _facts(encoder: Encoder) -> dict[str, Any]:
    paths = [path for path in (encoder.preprocess, encoder.path) if path]
    sizes = [file.stat().st_size for path in paths for file in path.rglob("*") if file.is_file()]
    facts: dict[str, Any] = {"name": encoder.name, "handle": encoder.handle}
    if spec := encoder.spec:
        facts |= {
            "description": spec.description,
            "languages": " ".join(spec.languages),
            "licence": spec.licence,
            "published": spec.handle,
            "source": spec.source,
        }
    return facts | {
        "path": encoder.path,
        **({"preprocess": encoder.preprocess} if encoder.preprocess else {}),
        "fingerprint": encoder.fingerprint,
        "on disk": f"{sum(sizes) / _MB:.1f} MB",
    }


def _loaded_facts(layer: Any) -> dict[str, Any]:
    return {
        "kind": KINDS[layer.encoder.preprocess is not None],
        "width": layer.width,
        "weights": f"{layer.count_params():,} numbers in {len(layer.weights)} arrays",
    }


def _groups(weights: Sequence[Any]) -> dict[str, list[Any]]:
    """Return the weights by block: the path to its first numbered part, else its first part."""
    groups: dict[str, list[Any]] = {}
    for weight in weights:
        block = re.match(r"(?:[^/]+/)*?[^/]*_\d+(?=/)", weight.path)
        group = block[0] if block else weight.path.partition("/")[0]
        groups.setdefault(group, []).append(weight)
    return groups


def _fetch(arguments: Namespace) -> int:
    names, archive = arguments.names, arguments["from"]
    if bool(names) == bool(archive):
        raise EncoderError(
            f"fetch takes either names or --from BUNDLE. Received: {names}, --from {archive}"
        )
    offline = False
    if archive:
        names, offline = unbundle(Path(archive)), True
    for name in names:
        print(f"{name}: {resolve(name, offline=offline).path}")
    return 0


def _bundle(arguments: Namespace) -> int:
    target = Path(arguments.to)
    bundle(arguments.names, target, offline=arguments.offline)
    print(
        f"{target}: {target.stat().st_size / _MB:.1f} MB. On the other machine: "
        f"`python -m tfhub_transfer.encoders fetch --from {target.name}`"
    )
    return 0


def _build(arguments: Namespace) -> int:
    if arguments.name == "minilm-static":
        return _build_static(arguments)
    name, checkpoint, to = arguments.name, arguments.checkpoint, arguments.to
    if arguments["from"] or arguments.width:
        raise EncoderError(f"--from and --width are for minilm-static. Received: {name!r}")
    if not checkpoint:
        raise EncoderError(f"--checkpoint is needed: the BERT checkpoint to make {name!r} from")
    if not to and name != "minilm-l6":
        raise EncoderError(
            f"Only minilm-l6 has a place in the cache; --to DIR is needed, the directory to make "
            f"the encoder in.{did_you_mean(name, ['minilm-l6', 'minilm-static'])} "
            f"Received: {name!r}"
        )
    import_tensorflow()
    build_bert(name, Path(checkpoint), Path(to) if to else None)
    print(f"{name}: use it as --encoder.name {to or name}")
    return 0


def _build_static(arguments: Namespace) -> int:
    name, to = arguments.name, arguments.to
    if arguments.checkpoint:
        raise EncoderError(
            f"{name} is distilled from a transformer, which --from names. "
            f"Received: --checkpoint {arguments.checkpoint}"
        )
    if not to:
        raise EncoderError(f"--to is needed: the directory or .tar.xz file to make {name!r} in")
    encoder = resolve(arguments["from"] or "minilm-l6", offline=arguments.offline)
    import_tensorflow()
    build_static(encoder, Path(to), width=arguments.width or 256)
    size = f", {Path(to).stat().st_size / _MB:.1f} MB" if Path(to).is_file() else ""
    print(f"{name}: {to}{size}")
    return 0


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH, highlight=False)


_COMMANDS = {
    "list": _list,
    "info": _info,
    "fetch": _fetch,
    "bundle": _bundle,
    "build": _build,
}


if __name__ == "__main__":
    sys.exit(main())
