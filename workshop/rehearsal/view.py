"""What a person sees of a running fleet: a live table in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table

from common.contract.deduplicator_status import DeduplicatorStatus, DeltaTotals
from common.contract.gatherer_status import GathererStatus
from common.contract.status import READY
from common.overview import frames, gaps_shown

LINE_EVERY_S = 5.0


class LiveView:
    """Shows the state of all processes, and what is being done to them."""

    def __init__(self) -> None:
        self._console = Console()
        self._live: Live | None = None
        self._said: list[str] = []
        self._began = time.monotonic()
        self._last_line = 0.0
        self._before: tuple[float, int] | None = None
        self._counts = DeltaTotals(0, 0)
        """What the deduplicator counted at the last look, and in `_earlier` what its processes before had."""
        self._earlier = DeltaTotals(0, 0)

    def __enter__(self) -> LiveView:
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

    def show(
        self, gatherers: Mapping[str, GathererStatus | None], production: DeduplicatorStatus | None, sent: int
    ) -> None:
        """The state now; `sent` is how many changes the exchange has made."""
        now = time.monotonic()
        if production is not None:
            self._count(production.deltas)
        inserted = self._earlier.inserted + self._counts.inserted
        confirmed = self._earlier.confirmed + self._counts.confirmed
        rate = 0.0
        if self._before and now > self._before[0]:
            rate = max(0, inserted - self._before[1]) / (now - self._before[0])
        self._before = (now, inserted)
        if self._live:
            self._live.update(self._table(gatherers, production, (sent, inserted, confirmed), rate))
        elif now - self._last_line >= LINE_EVERY_S:
            self._last_line = now
            up = sum(status is not None for status in gatherers.values())
            state = "deduplicator down"
            if production is not None:
                state = f"production {inserted} (+{rate:.0f}/s), {confirmed} copies confirmed, {_lag(production)}, "
                state += f"open gaps: {gaps_shown(production.open_gaps)}"
            print(
                f"{now - self._began:5.1f} s  exchange {sent} changes; {state}, gatherers up {up} of {len(gatherers)}",
                flush=True,
            )

    def _count(self, deltas: DeltaTotals) -> None:
        """A process counts from its own start on: what the one before it had counted stays counted."""
        if deltas.inserted < self._counts.inserted:
            self._earlier.inserted += self._counts.inserted
            self._earlier.confirmed += self._counts.confirmed
        self._counts = deltas

    def _table(
        self,
        gatherers: Mapping[str, GathererStatus | None],
        production: DeduplicatorStatus | None,
        changes: tuple[int, int, int],
        rate: float,
    ) -> Table:
        """`changes`: what the exchange sent, what production has of it, and how many further copies confirmed it."""
        sent, inserted, confirmed = changes
        table = Table(title="Kalshi Fleet: demo", caption="\n".join(self._said[-6:]), caption_justify="left")
        for column in ("process", "state", "connections", "frames", "breaks", "rows", "lag ms"):
            table.add_column(column, justify="left" if column in ("process", "state") else "right")
        for name, status in gatherers.items():
            if status is None:
                table.add_row(name, "[red]down[/red]", "", "", "", "", "")
                continue
            roles = status.connections.values()
            state = "[green]ready[/green]" if status.ready == READY else "[yellow]not whole[/yellow]"
            table.add_row(
                name,
                state,
                f"{sum(r.up for r in roles)}/{sum(r.configured for r in roles)}",
                str(frames(status)),
                str(sum(r.breaks for r in roles)),
                str(status.loader.delta_rows),
                str(status.loader.lag_ms),
            )
        if production is None:
            table.add_row("deduplicator", "[red]down[/red]", "", "", "", "", "")
        else:
            state = "[green]ready[/green]" if production.ready == READY else "[yellow]waiting[/yellow]"
            copies = (inserted + confirmed) / max(inserted, 1)
            table.add_row(
                "deduplicator",
                state,
                f"{copies:.2f} copies",
                f"{rate:.0f}/s",
                f"open gaps: {gaps_shown(production.open_gaps)}",
                f"{inserted} of {sent}",
                "" if production.lag_ms is None else str(production.lag_ms),
            )
        return table


def _lag(production: DeduplicatorStatus) -> str:
    return "nothing new" if production.lag_ms is None else f"lag {production.lag_ms} ms"
