"""`python -m workshop.bench [NAME...]`: run benchmarks, print each with its ceiling, write bench.json."""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
from pathlib import Path

from workshop.bench import (
    archive,
    births,
    capture,
    deduplicator,
    feed,
    gatherer,
    held,
    latency,
    loader,
    merge,
    million,
    replay,
    restart,
)

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
    "replay": replay.run,
    "restart": restart.run,
    "million": million.run,
    "births": births.run,
}


def measure(name: str, output: Path) -> None:
    """Run one in this process, print its figures, and add them to the file."""
    results = json.loads(output.read_text()) if output.exists() else {}
    for key, result in asyncio.run(ALL[name]()).items():
        results[key] = result
        print(f"{key:18} {result['value']:>12} {result['unit']:22} ", end="")
        print(f"ceiling {result['ceiling'] or '-':>10}  ratio {result['ratio'] or '-'}", flush=True)
    output.write_text(json.dumps(results, indent=2) + "\n")


def apart(name: str, output: Path) -> bool:
    """Run one in a process of its own: its memory is not that of those before, and if it fails it fails alone."""
    return not subprocess.run(
        [sys.executable, "-m", "workshop.bench", name, "--output", output], check=False
    ).returncode


def main() -> None:
    """Everything, or what is named."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(ALL))
    parser.add_argument("--output", type=Path, default=Path("bench.json"))
    given = parser.parse_args()
    if unknown := [name for name in given.names if name not in ALL]:
        parser.error(f"no benchmark is called {unknown[0]!r}; there are {', '.join(ALL)}")
    if len(given.names) == 1:
        measure(given.names[0], given.output)
    elif failed := [name for name in given.names or ALL if not apart(name, given.output)]:
        sys.exit(f"not measured: {', '.join(failed)}")


if __name__ == "__main__":
    main()
