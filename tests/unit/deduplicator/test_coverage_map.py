"""The map of coverage: begins and ends, counted by stretch, give how long everything lasted in each."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from deduplicator.status.coverage_map import Edges, lasted_ms, shares
from deduplicator.status.pages import BUCKETS, lines

BUCKET_MS, N = 100, 7
STRETCHES = st.lists(
    st.tuples(st.integers(0, N * BUCKET_MS), st.integers(0, N * BUCKET_MS)).map(sorted).map(tuple), max_size=30
)


def edges(kind: str, stretches: list[tuple[int, int]], bucket_ms: int = BUCKET_MS) -> list[Edges]:
    """As the statement counts them."""
    counts: Counter[tuple[int, int]] = Counter()
    sums: Counter[tuple[int, int]] = Counter()
    for begin, end in stretches:
        for sign, at in ((1, begin), (-1, end)):
            counts[at // bucket_ms, sign] += 1
            sums[at // bucket_ms, sign] += at
    return [Edges(kind, bucket, sign, n, sums[bucket, sign]) for (bucket, sign), n in counts.items()]


@given(STRETCHES, STRETCHES)
def test_it_is_the_sum_of_all_overlaps(some: list[tuple[int, int]], others: list[tuple[int, int]]) -> None:
    """Against the plain sum, for two kinds at once."""
    lasted = lasted_ms([*edges("a", some), *edges("b", others)], N, BUCKET_MS)
    for kind, stretches in (("a", some), ("b", others)):
        for n in range(N):
            overlaps = (min(e, (n + 1) * BUCKET_MS) - max(b, n * BUCKET_MS) for b, e in stretches)
            assert lasted.get(kind, [0] * N)[n] == sum(max(overlap, 0) for overlap in overlaps)


def test_where_there_is_no_market_there_is_no_share() -> None:
    """Nothing is not complete."""
    assert shares([0, 50, 50], [0, 50, 20]) == [None, 1.0, 0.4]


def test_rows_of_the_map() -> None:
    """The fleet by channel, less its gaps; then what each gatherer holds of the order books."""
    bucket = 15 * 60_000
    whole = BUCKETS * bucket
    books, trades, a = lines(
        [
            *edges("line orderbook_delta", [(0, whole), (bucket, 2 * bucket)], bucket),
            *edges("gap orderbook_delta", [(bucket + 5, bucket + 15)], bucket),
            *edges("held gatherer-a", [(0, bucket)], bucket),
            *edges("line trade", [(0, bucket)], bucket),
        ]
    )
    assert (books.name, books.of, trades.name, a.name, a.of) == (
        "orderbook_delta", "fleet", "trade", "gatherer-a", "gatherer"
    )  # fmt: skip
    assert books.missing_ms[:3] == [0, 10, 0] and books.shares[0] == 1.0
    assert books.shares[1] == (2 * bucket - 10) / (2 * bucket)
    assert a.missing_ms[:3] == [0, 2 * bucket, bucket] and a.shares[:2] == [1.0, 0.0]
    assert trades.shares[:2] == [1.0, None]
