"""`python -m benchmarks.peers [NAME ...]`: make the peers' environments."""

from __future__ import annotations

import argparse
import subprocess
import sys
import venv

from benchmarks.peers import PEERS, Peer


def make(peer: Peer) -> None:
    """Make a peer's virtual environment anew, with the pinned packages in it."""
    venv.create(peer.folder, clear=True, with_pip=True)
    for requirements in peer.requirements:
        pip = [str(peer.folder / "bin" / "python"), "-m", "pip", "install", *requirements]
        subprocess.run(pip, check=True)


def main() -> int:
    """Make the environments that were named, all by default."""
    arguments = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    arguments.add_argument("peers", nargs="*", metavar="NAME", help=", ".join(PEERS))
    chosen = arguments.parse_args().peers or list(PEERS)
    if unknown := [name for name in chosen if name not in PEERS]:
        arguments.error(f"no such peer. Accepted: {', '.join(PEERS)}. Received: {unknown[0]}")
    for name in chosen:
        try:
            make(PEERS[name])
        except subprocess.CalledProcessError as error:
            print(
                f"error: pip ended with exit code {error.returncode} for {name}; it has said "
                f"why above.",
                file=sys.stderr,
            )
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
