"""What a person sees of a running fleet: a live table in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

LINE_EVERY_S = 5.0


class View:
    """Shows the state of all processes, and what is being done to them."""

    def __init__(self) -> None:
        self._console = Console()
        self._live: Live | None = None
        self._said: list[str] = []
        self._began = time.monotonic()
        self._last_line = 0.0
        self._before: tuple[float, int] | None = None

    def __enter__(self) -> View:
        if self._console.is_terminal:
            self._live = Live(console=self._console, refresh_per_second=4)
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._live:
            self._live.stop()

    def say(self, text: str) -> None:
        """Something happened."""
        line = f"{time.monotonic() - self._began:5.1f} s  {text}"
        self._said.append(line)
        if not self._live:
            print(line, flush=True)

    def show(self, gatherers: dict[str, dict[str, Any] | None], production: dict[str, Any] | None, sent: int) -> None:
        """The state now; `sent` is how many changes the exchange has made."""
        now = time.monotonic()
        deltas = (production or {}).get("deltas", {})
        inserted = deltas.get("inserted", 0)
        rate = 0.0
        if self._before and now > self._before[0]:
            rate = max(0, inserted - self._before[1]) / (now - self._before[0])
        self._before = (now, inserted)
        if self._live:
            self._live.update(self._table(gatherers, production, sent, rate))
        elif now - self._last_line >= LINE_EVERY_S:
            self._last_line = now
            up = sum(status is not None for status in gatherers.values())
            print(
                f"{now - self._began:5.1f} s  exchange {sent} changes; production {inserted} (+{rate:.0f}/s), "
                f"{deltas.get('confirmed', 0)} copies confirmed, lag {(production or {}).get('lag_ms', '-')} ms, "
                f"gaps {(production or {}).get('gaps', '-')}, gatherers up {up} of {len(gatherers)}",
                flush=True,
            )

    def _table(
        self, gatherers: dict[str, dict[str, Any] | None], production: dict[str, Any] | None, sent: int, rate: float
    ) -> Table:
        table = Table(title="Kalshi Fleet: demo", caption="\n".join(self._said[-6:]), caption_justify="left")
        for column in ("process", "state", "connections", "frames", "breaks", "rows", "lag ms"):
            table.add_column(column, justify="left" if column in ("process", "state") else "right")
        for name, status in gatherers.items():
            if status is None:
                table.add_row(name, "[red]down[/red]", "", "", "", "", "")
                continue
            roles = status["connections"].values()
            state = "[green]ready[/green]" if status["ready"] == "ready" else "[yellow]not whole[/yellow]"
            table.add_row(
                name,
                state,
                f"{sum(r['up'] for r in roles)}/{sum(r['configured'] for r in roles)}",
                str(sum(r["frames"] for r in roles)),
                str(sum(r["breaks"] for r in roles)),
                str(status["loader"]["delta_rows"]),
                str(status["loader"]["lag_ms"]),
            )
        if production is None:
            table.add_row("deduplicator", "[red]down[/red]", "", "", "", "", "")
        else:
            deltas = production["deltas"]
            state = "[green]ready[/green]" if production["ready"] == "ready" else "[yellow]waiting[/yellow]"
            copies = (deltas["inserted"] + deltas["confirmed"]) / max(deltas["inserted"], 1)
            table.add_row(
                "deduplicator",
                state,
                f"{copies:.2f} copies",
                f"{rate:.0f}/s",
                f"gaps {production['gaps']}",
                f"{deltas['inserted']} of {sent}",
                str(production["lag_ms"]),
            )
        return table
