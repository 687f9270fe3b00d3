"""What content keys lose: `python -m workshop.bench.content_keys FOLDER` prints docs/architecture/merge.md's table.

Every public design identifies changes by their content. On recordings of real frames: how many changes have the same
key as an earlier one, and would be thrown away as its copy.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

KEYS = ("ticker, ts, price, side", "ticker, ts, price, side, delta")
CUTS = {"s": 19, "ms": 23, "us": 26}
"""How much of a time's text is kept."""


def changes(files: Iterable[Path]) -> Iterator[dict[str, Any]]:
    """The changes of recordings, in their order."""
    for file in files:
        with gzip.open(file, "rt") as lines:
            for line in lines:
                event = json.loads(line)["event"]
                if event["type"] == "orderbook_delta":
                    yield event["msg"]


def lost(rows: Iterable[dict[str, Any]]) -> tuple[int, dict[tuple[str, str], int]]:
    """How many changes there are, and how many of them each key (by text and cut of time) throws away."""
    seen: dict[tuple[str, str], set[tuple[str, ...]]] = {(key, cut): set() for key in KEYS for cut in CUTS}
    total = 0
    for msg in rows:
        total += 1
        whole, _, fraction = msg["ts"].rstrip("Z").partition(".")
        at = f"{whole}.{fraction:0<6}"
        for (key, cut), known in seen.items():
            content = (msg["market_ticker"], at[: CUTS[cut]], msg["price_dollars"], msg["side"])
            known.add((*content, msg["delta_fp"]) if key.endswith("delta") else content)
    return total, {which: total - len(known) for which, known in seen.items()}


def table(total: int, thrown: dict[tuple[str, str], int]) -> str:
    """As Markdown."""
    lines = [f"| key | {' | '.join(f'timestamps in {cut}' for cut in CUTS)} |", "|---|" + "---|" * len(CUTS)]
    for key in KEYS:
        shares = (f"{thrown[key, cut]:,} ({100 * thrown[key, cut] / max(total, 1):.2f} %)" for cut in CUTS)
        lines.append(f"| {key} | {' | '.join(shares)} |")
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path, help="with recordings, *.ndjson.gz")
    files = sorted(parser.parse_args().folder.rglob("*.ndjson.gz"))
    total, thrown = lost(changes(files))
    print(f"{total:,} changes of {len(files)} recordings\n\n{table(total, thrown)}")


if __name__ == "__main__":
    main()
