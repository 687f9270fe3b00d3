"""`simulator`: the exchange's command line."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import tempfile
from pathlib import Path

import click

from simulator import lives
from simulator.auth import Accounts
from simulator.exchange import Exchange
from simulator.journals import fetch, is_segment
from simulator.replay import Replay
from simulator.server import Server
from simulator.synthetic import Synthetic, SyntheticPlan
from simulator.truth import DeliveredLog, TruthLog


@click.group()
def main() -> None:
    """An exchange to run a fleet against: real protocol, real faults, known truth."""


def replayed(sources: tuple[str, ...], folder: Path) -> list[Path]:
    """The recordings and journal segments among files, folders and s3:// prefixes (which are fetched into `folder`)."""
    files: list[Path] = []
    for source in sources:
        path = fetch(source, folder) if source.startswith("s3://") else Path(source)
        if not path.exists():
            raise click.BadParameter(f"{source} does not exist")
        found = (
            [f for f in path.rglob("*") if f.name.endswith(".ndjson.gz") or is_segment(f)] if path.is_dir() else [path]
        )
        if not found:
            raise click.BadParameter(f"{source} holds neither recordings (*.ndjson.gz) nor segments of a journal")
        files.extend(sorted(found))
    return files


@main.command()
@click.option("--keys", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=0, show_default=True, help="REST and WebSocket; 0 takes a free one")
@click.option("--control-port", default=0, show_default=True, help="faults and state; 0 takes a free one")
@click.option("--truth", type=click.Path(dir_okay=False, path_type=Path), help="write the truth log here")
@click.option("--delivered", type=click.Path(dir_okay=False, path_type=Path), help="write every frame sent here")
@click.option("--connections-max", default=200, show_default=True, help="connections of one account")
@click.option("--replay", multiple=True, help="recordings, journals, folders of them, or s3://bucket/prefix")
@click.option("--speed", default=1.0, show_default=True, help="divides the elapsed time of a replay")
@click.option("--markets", default=0, show_default=True, help="synthetic markets")
@click.option("--rate", default=500.0, show_default=True, help="synthetic changes per second")
@click.option("--seed", default=1, show_default=True)
@click.option("--close-after", default=0.0, help="seconds after which the last synthetic market closes")
@click.option("--create-after", default=0.0, help="seconds after which a market is created")
@click.option("--not-open", default=0, help="markets of every other status, some of them archived")
@click.option("--births", default=0.0, help="combos born, and settled, per second")
@click.option("--life", default=60.0, show_default=True, help="seconds from a combo's birth to its settlement")
@click.option("--forget-after", default=0.0, help="seconds from a combo's settlement until no list has it (0: never)")
@click.option("--history", default=0, help="past events that the unfiltered lists of events end with")
@click.option("--ping", default=10.0, show_default=True, help="seconds between pings")
@click.option("--coarse-ts", multiple=True, help="key id whose frames carry `ts` cut to milliseconds")
@click.option("--no-sending-ts", is_flag=True, help="leave out sending_ts_ms")
@click.option("--paused", is_flag=True, help="wait for POST /resume before anything happens")
def serve(
    keys: Path,
    host: str,
    port: int,
    control_port: int,
    truth: Path | None,
    delivered: Path | None,
    connections_max: int,
    replay: tuple[str, ...],
    speed: float,
    markets: int,
    rate: float,
    seed: int,
    close_after: float,
    create_after: float,
    not_open: int,
    births: float,
    life: float,
    forget_after: float,
    history: int,
    ping: float,
    coarse_ts: tuple[str, ...],
    no_sending_ts: bool,
    paused: bool,
) -> None:
    """Run until SIGTERM. The first line on standard output is JSON with the two ports.

    KEYS is a folder with one public key per account, named KEY_ID.pem.
    """
    if not markets and not replay and not births:
        raise click.UsageError("nothing to simulate: give --markets, --births or --replay")

    async def run() -> None:
        stopped = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        exchange = Exchange(TruthLog(truth))
        exchange.history = history
        lives.not_open(exchange, not_open)
        server = Server(
            exchange,
            Accounts.of_folder(keys),
            ping_s=ping,
            coarse_keys=frozenset(coarse_ts),
            sending_ts=not no_sending_ts,
            delivered=DeliveredLog(delivered) if delivered else None,
            connections_max=connections_max,
        )
        if replay:
            with tempfile.TemporaryDirectory(prefix="kalshi-replay-") as folder:
                server.drivers.append(Replay(exchange, replayed(replay, Path(folder)), speed))
        if markets:
            server.drivers.append(Synthetic(exchange, SyntheticPlan(markets, rate, seed, close_after, create_after)))
        if births:
            server.drivers.append(lives.Combos(exchange, births, life, seed, forget_after))
        ports = await server.start(host, port, control_port)
        print(json.dumps({"port": ports[0], "control_port": ports[1]}), flush=True)
        if not paused:
            server.flow()
        await server.run_until(stopped)
        await server.stop()

    asyncio.run(run())


if __name__ == "__main__":
    sys.exit(main())
