"""Other projects that encode or serve texts, each in an environment of its own.

PyTorch and TensorFlow abort in one process, and the peers' requirements exclude each other's, so
every peer has a virtual environment in `benchmarks/.peers/`. Nothing but the standard library is
imported here: the peers' interpreters import this package too.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
ENVIRONMENTS = FOLDER.parent / ".peers"


@dataclass(frozen=True)
class Peer:
    """One environment.

    Attributes:
        name: of the folder under `benchmarks/.peers/`.
        requirements: pip's arguments, one call after the other.
    """

    name: str
    requirements: tuple[tuple[str, ...], ...]

    @property
    def variable(self) -> str:
        """The environment variable that names an interpreter to use instead."""
        return f"PEER_{self.name.replace('-', '_').upper()}"

    @property
    def folder(self) -> Path:
        """Where the virtual environment is made."""
        return ENVIRONMENTS / self.name

    def interpreter(self) -> Path:
        """Return the Python to run this peer with.

        Raises:
            SystemExit: there is none; the text says how to make one.
        """
        named = os.environ.get(self.variable)
        # not resolved: a virtual environment's interpreter is a link, and its place matters
        python = Path(named) if named else self.folder / "bin" / "python"
        if not python.exists():
            raise SystemExit(
                f"error: the peer {self.name} has no environment. Make it with `python -m "
                f"benchmarks.peers {self.name}`, name a Python that has it with "
                f"{self.variable}=PATH, or leave it out with --without-peer {self.name}. "
                f"Received: {python}"
            )
        return python


def _pinned(name: str) -> tuple[str, ...]:
    return ("-r", str(FOLDER / name))


PEERS = {
    peer.name: peer
    for peer in (
        # PyTorch first: sentence-transformers alone would bring the CUDA build, 2 GB larger.
        Peer("sentence-transformers", (_pinned("torch.txt"), _pinned("sentence-transformers.txt"))),
        Peer("keras-hub", (_pinned("keras-hub.txt"),)),
        Peer("fastapi", (_pinned("fastapi.txt"),)),
        Peer("setfit", (_pinned("torch.txt"), _pinned("setfit.txt"))),
        Peer("word2vec", (_pinned("word2vec.txt"),)),
    )
}
