"""A market as NautilusTrader reads it (extra `nautilus`)."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from kalshi_fleet.events import CONTRACT, DOLLAR
from kalshi_fleet.instants import instants
from kalshi_fleet.moments import Moment, floor_ms, moment
from kalshi_fleet.replay import Source

NS: Final = 1_000_000
VENUE: Final = "KALSHI"


def to_nautilus(
    source: Source,
    ticker: str,
    start: Moment,
    end: Moment,
    catalog: str | Path,
    *,
    expires: Moment | None = None,
    unsealed: bool = False,
) -> Any:
    """Add the market (a `BinaryOption`) and the updates of its book to a `ParquetDataCatalog`; returns the instrument.

    Prices are of YES. What a level has at the end of a millisecond is one update: of what has one time the catalog
    keeps no order. In a gap the book is empty, and shown again after it. `expires`: when the market does; without it,
    a year after `end`. Raises what `Archive.replay` raises.
    """
    from nautilus_trader.model.currencies import USD
    from nautilus_trader.model.data import BookOrder, OrderBookDelta
    from nautilus_trader.model.enums import AssetClass, BookAction, OrderSide, RecordFlag
    from nautilus_trader.model.identifiers import InstrumentId, Symbol, Venue
    from nautilus_trader.model.instruments import BinaryOption
    from nautilus_trader.model.objects import Price, Quantity
    from nautilus_trader.persistence.catalog import ParquetDataCatalog

    over: datetime = moment(end) + timedelta(days=365) if expires is None else moment(expires)
    instrument = BinaryOption(
        instrument_id=InstrumentId(Symbol(ticker), Venue(VENUE)),
        raw_symbol=Symbol(ticker),
        asset_class=AssetClass.ALTERNATIVE,
        currency=USD,
        price_precision=4,
        size_precision=2,
        price_increment=Price.from_str("0.0001"),
        size_increment=Quantity.from_str("0.01"),
        activation_ns=0,
        expiration_ns=floor_ms(over) * NS,
        ts_event=0,
        ts_init=0,
        maker_fee=Decimal(0),
        taker_fee=Decimal(0),
    )
    rows = []
    for instant in instants(source.replay(ticker, start, end, trades=False, unsealed=unsealed)):
        at = instant.at_ms * NS
        for (side, price), size in instant.changed.items():
            yes = price if side == "yes" else DOLLAR - price
            order = BookOrder(
                OrderSide.BUY if side == "yes" else OrderSide.SELL,
                Price.from_str(f"{yes // DOLLAR}.{yes % DOLLAR:04}"),
                Quantity.from_str(f"{size // CONTRACT}.{size % CONTRACT:02}"),
                yes,
            )
            action = BookAction.UPDATE if size else BookAction.DELETE
            rows.append(OrderBookDelta(instrument.id, action, order, RecordFlag.F_LAST, 0, at, at))
    made = ParquetDataCatalog(str(catalog))
    made.write_data([instrument])
    made.write_data(rows)
    return instrument
