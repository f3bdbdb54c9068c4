"""What all commands share: flags from dataclasses, exit codes, errors without a traceback.

Exit codes: 0 done, 2 a wrong flag or an error the text explains, 130 interrupted.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, TypeVar, get_origin

import jsonargparse

from tfhub_transfer.errors import DISK_ERRORS, TransferError
from tfhub_transfer.registry import did_you_mean

__all__ = ["Parser", "bare_booleans", "guarded", "import_tensorflow", "parse", "parser"]

FAILED = 2
INTERRUPTED = 130  # as shells say it: 128 and the number of SIGINT

Settings = TypeVar("Settings")

# Of TensorFlow's C++ code: "I0000 00:00:17... file.cc:1] text", and the lines that go with it.
_CHATTER = re.compile(
    r"[IE]\d{4} .*(cpu_feature_guard|port|cudart_stub|cuda_platform)\.cc:"
    r"|WARNING: All log messages before absl"
    r"|To enable the following instructions:"
)


class Parser(jsonargparse.ArgumentParser):
    """A parser that answers a wrong flag with one line rather than with all the flags."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print what was wrong, with the closest flag where one was unknown, and exit with 2."""
        del ex
        message = re.sub(r"(?<=required: )(?=\w)", "--", " ".join(message.split()))
        known = [flag for action in self._actions for flag in action.option_strings]
        unknown = re.search(r"unrecognized arguments: (--[^\s=]+)", message)
        if hint := did_you_mean(unknown[1], known) if unknown else "":
            message = f"{message}.{hint}"
        print(f"error: {message}\n{self.prog} --help lists every flag.", file=sys.stderr)
        raise SystemExit(2)


def parser(command: str, description: str) -> Parser:
    """Return a parser for `python -m tfhub_transfer.<command>`."""
    return Parser(
        prog=f"python -m tfhub_transfer.{command}",
        usage="%(prog)s [--config FILE.yaml] [--flag VALUE ...]",
        description=description,
        allow_abbrev=False,
    )


def parse(
    command: str,
    description: str,
    settings: type[Settings],
    arguments: Sequence[str] | None,
    *,
    short: Mapping[str, str] | None = None,
) -> Settings:
    """Read flags, and a `--config FILE.yaml` that they win over, into a dataclass.

    Args:
        command: the module's name below the package.
        description: of the command, for `--help`.
        settings: the dataclass; its fields are the flags, its docstring their help.
        arguments: the command line; the process's own when not given.
        short: further names of flags, such as `--trials` for `--search.trials`.

    Raises:
        ConfigError: a value that its dataclass refuses.
        SystemExit: help was asked for, or a flag is wrong.
    """
    flags = parser(command, description)
    flags.add_argument("--config", action="config", help="a YAML file of settings; flags win")
    flags.add_class_arguments(settings)
    bare_booleans(flags)
    for name, flag in (short or {}).items():
        action = flags._option_string_actions[flag]
        action.option_strings = [*action.option_strings, name]
        flags._option_string_actions[name] = action
    arguments = sys.argv[1:] if arguments is None else arguments
    known = {option for action in flags._actions for option in action.option_strings}
    arguments = _listed([_spelled(argument, known) for argument in arguments], flags)
    values: dict[str, Any] = vars(flags.instantiate(flags.parse_args(arguments)))
    values.pop("config", None)
    return settings(**values)


def _spelled(argument: str, known: set[str]) -> str:
    """Return `--serving-version` as `--serving_version`, and `--no-calibrate` as its value."""
    flag, equals, value = argument.partition("=")
    flag = flag.replace("-", "_").replace("__", "--", 1)
    if not argument.startswith("--") or argument in known:
        return argument
    if flag in known:
        return f"{flag}{equals}{value}"
    positive = flag.replace("--no_", "--", 1)
    return f"{positive}=false" if positive in known and not equals else argument


def _listed(arguments: list[str], flags: jsonargparse.ArgumentParser) -> list[str]:
    """Return `--format tflite,onnx` as `--format=[tflite,onnx]`, which YAML reads as a list."""
    lists = {
        option
        for action in flags._actions
        if get_origin(getattr(action, "_typehint", None)) is tuple
        for option in action.option_strings
    }
    listed: list[str] = []
    for argument in arguments:
        follows = bool(listed) and listed[-1] in lists and not argument.startswith("--")
        whole = f"{listed.pop()}={argument}" if follows else argument
        flag, equals, value = whole.partition("=")
        bare = flag in lists and equals and not value.startswith("[")
        listed.append(f"{flag}=[{_items(value)}]" if bare else whole)
    return listed


def _items(value: str) -> str:
    """Quote items that YAML would take for something else, as the `train[:10%]` of TFDS."""
    if value.startswith("{"):  # a mapping, written as YAML
        return value
    return ",".join(
        json.dumps(part) if any(mark in part for mark in "[#:") else part
        for part in value.split(",")
    )


def bare_booleans(flags: jsonargparse.ArgumentParser) -> None:
    """Let `--resume` alone mean `--resume true`."""
    for action in flags._actions:
        if getattr(action, "_typehint", None) is bool:
            action.nargs, action.const = "?", True


def import_tensorflow() -> None:
    """Import TensorFlow without its start-up chatter, which no log level silences any more.

    See https://github.com/tensorflow/tensorflow/issues/100442. Lines of the chatter's form are
    dropped while it starts; anything else, and everything where it fails to start, is passed on.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        started = False
        try:
            import tensorflow
            import tensorflow_text  # noqa: F401

            tensorflow.get_logger().setLevel("WARNING")  # in a notebook it says more by itself
            tensorflow.constant(0)  # looks for devices
            started = True
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            said.seek(0)
            for line in said.read().decode(errors="replace").splitlines():
                if not (started and _CHATTER.match(line)):
                    print(line, file=sys.stderr)


def guarded(function: Callable[[], int]) -> int:
    """Run a command and return its exit code.

    Whatever the package raises on purpose becomes one line on standard error.
    """
    try:
        return function()
    except TransferError as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough. Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        print(f"error: {error.strerror}. Received: {error.filename or 'no file'}", file=sys.stderr)
        return FAILED
