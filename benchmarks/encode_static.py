"""How fast are real sentences encoded by the encoder that ships in the package?

The same texts as in `encode`, all of them in one call; the encoder is warmed up once.
"""

from __future__ import annotations

import argparse
import statistics
import time

from benchmarks.encode import SOURCES, sentences
from benchmarks.table import print_heading, print_table, say


def main() -> None:
    """Encode in rounds and print the speeds."""
    arguments = argparse.ArgumentParser(
        prog="python -m benchmarks.encode_static", description=__doc__
    )
    arguments.add_argument("--texts", type=int, default=4000, help="per round")
    arguments.add_argument("--rounds", type=int, default=25)
    chosen = arguments.parse_args()
    from tfhub_transfer.encoders.bulk import BulkEncoder
    from tfhub_transfer.encoders.layer import HubLayer

    texts = sentences(chosen.texts, seed=0)
    encode = BulkEncoder(HubLayer("minilm-static"))
    encode(texts)
    speeds = []
    for _ in range(chosen.rounds):
        start = time.perf_counter()
        encode(texts)
        speeds.append(len(texts) / (time.perf_counter() - start))
    median = f"{statistics.median(speeds):,.0f}"
    say(f"{median} texts/s")
    print_heading("Texts per second with minilm-static")
    print(f"{chosen.texts:,} texts, equally many of {', '.join(SOURCES)} (train), shuffled; "
          f"{chosen.rounds} rounds.\n")
    print_table(
        ["Encoder", "Texts/s, median", "Range"],
        [["ours", median, f"{min(speeds):,.0f} to {max(speeds):,.0f}"]],
    )
    print("- ours: `BulkEncoder(HubLayer('minilm-static'))(texts)`")


if __name__ == "__main__":
    main()
