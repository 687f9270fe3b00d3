"""Order-book changes read as bytes, by the form they are written in: what the JSON decoder reads, or nothing."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import numpy as np
import pytest

from gatherer.derive.bulk import decoder
from gatherer.derive.bulk.form import Form
from gatherer.derive.bulk.forms import LEARN_FRAMES, Forms, learn
from gatherer.derive.bulk.text import Text
from tests.support.delta_frames import FRAME, change, wire


def text_of(frames: list[bytes]) -> Text:
    """Frames one after another."""
    return Text(frames, np.array([len(frame) for frame in frames]))


def read(form: Form, frames: list[bytes]) -> dict[int, tuple[int | str, ...]]:
    """What the form reads: values and ticker by the frame's number."""
    fields = form.read(text_of(frames), np.arange(len(frames)))
    rows = zip(*(column.tolist() for column in fields.columns), strict=True)
    tickers = [fields.tickers[n] for n in fields.ticker]
    return {n: (*row, name) for n, row, name in zip(fields.frames.tolist(), rows, tickers, strict=True)}


def decoded(frame: bytes) -> tuple[int | str, ...] | None:
    """What the decoder reads; None if the frame is no change, or one that becomes no row."""
    found = decoder.decode(frame)
    if len(found) != 1:
        return None
    values = [column[0] for column in decoder.values(found)]
    if values[6] == decoder.NONE or not values[7]:
        return None
    return (*values, found[0].msg.market_ticker)


FORM = learn(wire(FRAME))


def test_usual_frames_are_read_and_as_the_decoder_reads_them() -> None:
    """Values of every width that the exchange has sent."""
    assert FORM is not None
    frames = [
        change(),
        change(seq=123456789012345, sid=12345678),
        change(price_dollars="1.0000", delta_fp="12345678.90", side="no"),
        change(price_dollars="0.0001", delta_fp="0.01"),
        change(delta_fp="-99999999.99", ts="2026-11-21T10:00:00.9Z"),
        change(ts="2026-11-21T10:00:00.95708Z", market_ticker="KXBTCD-26NOV21-T72999.99"),
        change(ts="2026-11-21T10:00:00.9570Z", market_ticker="K" * 64),
        change(ts="2026-11-21T10:00:00.957Z", market_ticker="K" * 63),
        change(ts_ms=0, sending_ts_ms=7, market_id=""),
        change(market_ticker="K"),
    ]
    assert read(FORM, frames[:8] + frames[9:]) == dict(enumerate(map(decoded, frames[:8] + frames[9:])))
    assert read(FORM, frames[8:9]) == {}, "an empty text has no place of its own: the decoder's"


UNUSUAL = {
    "wide price": change(price_dollars="0.47"),
    "high price": change(price_dollars="10.0000"),
    "no price": change(price_dollars="0.47x0"),
    "price sign": change(price_dollars="/.4700"),
    "price point": change(price_dollars="0:4700"),
    "nothing": change(delta_fp="0.00"),
    "minus nothing": change(delta_fp="-0.00"),
    "whole": change(delta_fp="3"),
    "plus": change(delta_fp="+3.00"),
    "two signs": change(delta_fp="--3.00"),
    "no digit": change(delta_fp="-.00"),
    "large": change(delta_fp="123456789.00"),
    "letters": change(delta_fp="1a.00"),
    "size point": change(delta_fp="3,00"),
    "side": change(side="maybe"),
    "side empty": change(side=""),
    "side begins so": change(side="yesno"),
    "time text": change(ts="2026-11-21 10:00:00"),
    "time zone": change(ts="2026-11-21T10:00:00.957+00:00"),
    "time no fraction": change(ts="2026-11-21T10:00:00Z"),
    "time digits": change(ts="2026-11-21T10:00:00.95x081Z"),
    "time long": change(ts="2026-11-21T10:00:00.9570811Z"),
    "no time": change(ts=None),
    "null": wire(FRAME).replace(b'"ts":"2026-11-21T10:00:00.957081Z"', b'"ts":null'),
    "no sending": change(sending_ts_ms=None),
    "more": change(client_order_id="x"),
    "id": change(id=7),
    "negative sid": change(sid=-1),
    "sid nothing": change(sid=0),
    "seq nothing": change(seq=0),
    "leading zero": wire(FRAME).replace(b'"seq":8', b'"seq":08'),
    "fraction": wire(FRAME).replace(b'"seq":8', b'"seq":8.0'),
    "exponent": wire(FRAME).replace(b'"seq":8', b'"seq":8e3'),
    "long seq": change(seq=1234567890123456),
    "long sid": change(sid=123456789),
    "escape": wire(FRAME).replace(b"KXAAA", b"KX\\u0041A"),
    "escaped quote": wire(FRAME).replace(b"KXAAA", b'K\\"AAA'),
    "not ASCII": change(market_ticker="KXÄ"),
    "control": wire(FRAME).replace(b"KXAAA", b"KX\x01AA"),
    "line feed inside": wire(FRAME).replace(b"6d0e", b"6d\ne"),
    "tab": wire(FRAME).replace(b"6d0e", b"6d\te"),
    "invalid UTF-8": wire(FRAME).replace(b"KXAAA", b"KX\xff\xfeA"),
    "space": wire(FRAME).replace(b'"sid":1', b'"sid": 1'),
    "turned": wire(dict(reversed(FRAME.items()))),
    "other type": change(type="orderbook_deltb"),
    "cut": wire(FRAME)[:-3],
    "no line feed": wire(FRAME)[:-1],
    "twice": wire(FRAME) + wire(FRAME),
    "empty": b"",
    "long ticker": change(market_ticker="K" * 65),
    "no ticker": change(market_ticker=""),
    "second price": wire(FRAME).replace(b'"6d0e8a1c-5a3f-4b7e-9d57-0c7f6f1f2a11"', b'"6","price_dollars":"0.1000"'),
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_what_may_mean_anything_else_is_left_to_the_decoder(name: str) -> None:
    """Alone or among others; those beside it are read all the same."""
    assert FORM is not None
    assert read(FORM, [UNUSUAL[name]]) == {}
    good = change(seq=9)
    assert set(read(FORM, [good, UNUSUAL[name], good, good])) == {0, 2, 3}


def test_whatever_is_read_is_what_the_decoder_reads() -> None:
    """Single bytes changed at random, in frames of several forms."""
    rng = random.Random(5)
    samples = [change(), change(sending_ts_ms=None), change(ts=None), change(subaccount=3, delta_fp="17.25", side="no")]
    strange = b'"\\{}[]:,.-+ \n\x00\x7f\xc3\xa90123456789eyns'
    read_count = 0
    for sample in samples:
        form = learn(sample)
        assert form is not None
        frames = []
        for _ in range(1500):
            spoilt = bytearray(sample)
            for _ in range(rng.choice((1, 1, 2))):
                at = rng.randrange(len(spoilt))
                kind = rng.random()
                if kind < 0.6:
                    spoilt[at] = rng.choice(strange)
                elif kind < 0.8:
                    del spoilt[at]
                else:
                    spoilt.insert(at, rng.choice(strange))
            frames.append(bytes(spoilt))
        for number, values in read(form, frames).items():
            assert decoded(frames[number]) == values, frames[number]
            read_count += 1
            assert read(form, [frames[number]]) == {0: values}
        for frame in frames[:300]:  # alone, what is in it is counted, not looked at
            assert read(form, [frame]) in ({}, {0: decoded(frame)})
    assert read_count > 500


def test_nothing_is_read_beyond_what_there_is() -> None:
    """Frames with as many commas as a change, wherever they are; alone, and after or before empty ones."""
    rng = random.Random(6)
    nested = wire(FRAME | {"more": {str(n): True for n in range(3)}})
    for sample in (change(), change(sending_ts_ms=None), nested):
        form = learn(sample)
        assert form is not None
        commas, long = sample.count(b","), sample.replace(b"KXAAA-26NOV21-T5", b"K" * 64)
        for _ in range(400):
            length = rng.choice((30, 40, 60, 300))
            middle = bytearray(rng.choice(b'x":{1') for _ in range(length))
            places = range(length - commas, length) if rng.random() < 0.5 else rng.sample(range(length), commas)
            for at in places:
                middle[at] = ord(",")
            frame = bytes(b'{"type":"orderbook_delta' + middle + b"}\n")
            for frames in ([frame], [b"", b"", frame], [frame, b""], [sample, frame], [long, frame], [frame, sample]):
                assert set(read(form, frames)) == {n for n, each in enumerate(frames) if each in (sample, long)}
    assert learn(wire(FRAME | {"more": {str(n): True for n in range(30)}})) is None, "too much text between values"


def test_a_form_is_learned_from_what_the_known_ones_do_not_fit() -> None:
    """Another order of keys, a new key: read at once from then on, whatever came before."""
    forms = Forms()
    kinds = [change(), change(sending_ts_ms=None), wire(dict(reversed(FRAME.items()))), change(flags="x")]
    for kind in kinds:
        frames = [kind] * LEARN_FRAMES
        text, every = text_of(frames), np.arange(len(frames))
        assert sum(len(f.frames) for f in forms.read(text, every)) == len(frames)
    mixed = [kinds[n % 4] for n in range(100)]
    parts = [f.frames.tolist() for f in forms.read(text_of(mixed), np.arange(100))]
    assert sorted(n for part in parts for n in part) == list(range(100)), "each once"
    few = [change(other="y")] * (LEARN_FRAMES - 1)
    assert not list(forms.read(text_of(few), np.arange(len(few))))


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"{}\n",
        change(side="maybe"),
        change(market_ticker="K\\u0041"),
        wire(FRAME | {"again": {"seq": 5}}),
        change(ts=None, x={"ts": "2026-11-21T10:00:00.123456Z"}),
        wire(FRAME).replace(b'"market_ticker"', b'"market_tick\\u0065r"'),
    ],
)
def test_no_form_is_learned_where_bytes_alone_do_not_decide(frame: bytes) -> None:
    """A value in two places, a key that is written otherwise, what is no change."""
    assert learn(frame) is None


def test_different_tickers_are_never_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if their mixed words were equal, which is then no reason to believe it."""
    monkeypatch.setattr("gatherer.derive.bulk.values._MIX", np.uint64(0))
    assert FORM is not None
    frames = [change(market_ticker=name) for name in ("KXA-1", "KXA-2", "KXA-1", "KXA-3")]
    assert {n: values[-1] for n, values in read(FORM, frames).items()} == {0: "KXA-1", 2: "KXA-1"}


def test_real_frames_are_read_by_their_form(recordings: list[Path]) -> None:
    """Every change of a recording, as the decoder reads it."""
    with gzip.open(recordings[0], "rt") as lines:
        events = (json.loads(line)["event"] for line in lines)
        frames = [wire(event) for event in events if event["type"] == "orderbook_delta"]
    form = learn(frames[0])
    assert form is not None and len(frames) > 1000
    assert read(form, frames) == dict(enumerate(map(decoded, frames)))


def test_tickers_that_come_together_in_sorting_stay_apart() -> None:
    """So many that some share the bits which they are sorted by, each in two places: all are read, by their names."""
    assert FORM is not None
    frames = [change(market_ticker=f"KXAAA-26NOV21-T{n}") for n in range(3000)] * 2
    assert read(FORM, frames) == {n: decoded(frame) for n, frame in enumerate(frames)}
