"""The quality report as one HTML file that needs nothing else: bars of the day's hours, and tables."""

from __future__ import annotations

from html import escape
from typing import Any, Final

from msgspec.structs import asdict

from fleet.report.quality import Report

COLOURS: Final = ("#b3261e", "#f2a33a", "#8fbf6a", "#2e7d4f")  # held by nobody, one, two, three or more
WIDTH, HEIGHT, BAR = 24 * 30, 160, 24
STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1d1d1f }
table { border-collapse: collapse; margin: 1rem 0 }
td, th { padding: .2rem .9rem .2rem 0; text-align: left; border-bottom: 1px solid #ddd }
td.n { text-align: right; font-variant-numeric: tabular-nums }
.available { color: #2e7d4f } .degraded { color: #a15c00 } .missing { color: #b3261e } .pending { color: #6b7280 }
:root { color-scheme: light dark } svg text { fill: currentColor }
@media (prefers-color-scheme: dark) {
  body { color: #e6eaf0; background: #12161c } td, th { border-color: #2c3440 }
  .available { color: #5fbf8a } .degraded { color: #e0a04a } .missing { color: #ef7a72 }
}
@media (max-width: 700px) { table { display: block; overflow-x: auto } }
"""


def page(report: Report) -> str:
    """The whole file."""
    day = report.published()
    total = sum(report.seconds_by_copies().values()) or 1.0
    copies = [(_held(n), f"{s:,.1f}", f"{100 * s / total:.4f} %") for n, s in report.seconds_by_copies().items()]
    checks = [(name, f"{one.compared:,}", f"{one.failed:,}") for name, one in day.checks.items()]
    lags = [
        (
            name,
            f"{lag.changes:,}",
            lag.least_ms,
            lag.p50_ms,
            lag.p99_ms,
            lag.most_ms,
            day.clock_offsets_ms.get(name, "–"),
        )
        for name, lag in day.lags.items()
    ]
    worst = [(m.ticker, m.condition, f"{m.uncovered:,.3f}", ", ".join(m.reasons)) for m in day.worst]
    counts = [(name.replace("_", " "), f"{value:,}") for name, value in asdict(report.counts).items()]
    parts = [
        f"<h1>{day.day}: <span class={day.condition}>{day.condition}</span></h1>",
        f"<p>Made at {day.made_at.isoformat()}, of what production knew then.</p>",
        "<h2>Market-seconds by how many gatherers held them</h2>",
        _bars(report.hours),
        _table(("held by", "market-seconds", "share"), copies),
        "<h2>Checks</h2>",
        _table(("check", "compared", "failed"), checks),
        "<h2>Milliseconds from the exchange</h2>",
        _table(("to", "changes", "least", "half below", "99 % below", "most", "clock ahead of the others by"), lags),
        "<h2>Counts</h2>",
        _table(("", ""), counts),
        "<h2>Fields that no row keeps</h2>",
        _table(("field", "since"), [(name, at.isoformat()) for name, at in day.unknown_fields.items()]),
        "<h2>Markets that lack most</h2>",
        _table(("ticker", "condition", "seconds not recorded", "reasons"), worst),
    ]
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{day.day}</title>"
        f"<style>{STYLE}</style><body>{''.join(parts)}</body></html>\n"
    )


def _held(copies: int) -> str:
    return ("nobody", "one", "two", "three")[copies] if copies < 4 else str(copies)


def _bars(hours: list[dict[int, float]]) -> str:
    """One bar an hour, what nobody held on top: a share of a hair's breadth still shows as a line."""
    drawn = []
    for number, hour in enumerate(hours):
        total, top = sum(hour.values()), float(HEIGHT)
        for copies, seconds in sorted(hour.items(), reverse=True):
            if not seconds or not total:
                continue
            height = max(HEIGHT * seconds / total, 1.0)
            top = max(top - height, 0.0)
            title = f"{number:02}:00, held by {_held(copies)}: {seconds:,.1f} market-seconds"
            drawn.append(
                f'<rect x="{number * 30}" y="{top:.1f}" width="{BAR}" height="{height:.1f}"'
                f' fill="{COLOURS[min(copies, 3)]}"><title>{title}</title></rect>'
            )
        drawn.append(f'<text x="{number * 30 + 4}" y="{HEIGHT + 16}" font-size="12">{number:02}</text>')
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT + 20}" role="img" aria-label="hours of the day">{"".join(drawn)}</svg>'


def _table(heads: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    if not rows:
        return "<p>none</p>"
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    body = "".join("<tr>" + "".join(_cell(str(value)) for value in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _cell(text: str) -> str:
    number = text[:1].isdigit()
    return f"<td{' class=n' if number else ''}>{escape(text)}</td>"
