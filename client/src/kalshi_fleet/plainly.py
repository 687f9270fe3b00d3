"""What is awaited, asked plainly: from a loop of its own in a thread, as one may run where it is asked."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncGenerator, Coroutine, Iterator
from typing import Any, TypeVar

T = TypeVar("T")


def steps(made: AsyncGenerator[T, None]) -> Iterator[T]:
    """Each one, when it is asked for. Leaving the loop ends what makes them."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="kalshi_fleet feed", daemon=True)
    thread.start()
    waiting = None
    try:
        while True:
            waiting = asyncio.run_coroutine_threadsafe(_next(made), loop)
            step = waiting.result()
            if step is None:
                return
            yield step
    finally:
        # When the program ends the thread stands still already, and would be waited for in vain.
        if not sys.is_finalizing():
            if waiting is not None:
                waiting.cancel()
            asyncio.run_coroutine_threadsafe(_closed(made), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()


async def _next(made: AsyncGenerator[T, None]) -> T | None:
    return await anext(made, None)


async def _closed(made: AsyncGenerator[T, None]) -> None:
    for other in asyncio.all_tasks() - {asyncio.current_task()}:
        other.cancel()
        await asyncio.gather(other, return_exceptions=True)
    await made.aclose()


def plainly(asked: Coroutine[Any, Any, T]) -> T:
    """What it gives."""
    made: list[T] = []
    failed: list[BaseException] = []

    def work() -> None:
        try:
            made.append(asyncio.run(asked))
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work, name="kalshi_fleet")
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return made[0]
