"""`python -m bench [NAME...]`: run benchmarks, print each with its ceiling, write bench.json."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import traceback
from pathlib import Path

from bench import archive, births, capture, deduplicator, feed, gatherer, held, latency, loader, merge, million, restart

ALL = {
    "capture": capture.run,
    "loader": loader.run,
    "gatherer": gatherer.run,
    "held": held.run,
    "merge": merge.run,
    "deduplicator": deduplicator.run,
    "feed": feed.run,
    "latency": latency.run,
    "archive": archive.run,
    "restart": restart.run,
    "million": million.run,
    "births": births.run,
}


def main() -> None:
    """Everything, or what is named."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(ALL))
    parser.add_argument("--output", type=Path, default=Path("bench.json"))
    given = parser.parse_args()
    if unknown := [name for name in given.names if name not in ALL]:
        parser.error(f"no benchmark is called {unknown[0]!r}; there are {', '.join(ALL)}")
    results = json.loads(given.output.read_text()) if given.output.exists() else {}
    failed = []
    for name in given.names or ALL:
        try:
            measured = asyncio.run(ALL[name]())
        except Exception:  # the others are measured all the same
            traceback.print_exc()
            failed.append(name)
            continue
        for key, result in measured.items():
            results[key] = result
            print(f"{key:18} {result['value']:>12} {result['unit']:22} ", end="")
            print(f"ceiling {result['ceiling'] or '-':>10}  ratio {result['ratio'] or '-'}", flush=True)
        given.output.write_text(json.dumps(results, indent=2) + "\n")
    if failed:
        sys.exit(f"not measured: {', '.join(failed)}")


if __name__ == "__main__":
    main()
