"""The forms that the exchange's order-book changes have at present: learned from what the known ones do not fit.

A form is believed once it reads the frame that it was learned from as the decoder does. What is remembered here makes
reading fast; it never changes what is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from gatherer.derive.bulk import decoder
from gatherer.derive.bulk.form import Fields, Form
from gatherer.derive.bulk.text import Array, Text

FORMS_MAX: Final = 4
LEARN_FRAMES: Final = 64  # so few without a form are not worth one


class Forms:
    """The forms in use, the latest first."""

    def __init__(self) -> None:
        self._forms: tuple[Form, ...] = ()

    def read(self, text: Text, frames: Array) -> Iterator[Fields]:
        """What can be read of these frames (their numbers, in order), form by form; no frame twice."""
        for form in self._forms:
            fields = form.read(text, frames)
            if len(fields.frames):
                yield fields
                frames = np.setdiff1d(frames, fields.frames, assume_unique=True)
            if not len(frames):
                return
        if len(frames) < LEARN_FRAMES:
            return
        middle = int(frames[len(frames) // 2])
        learned = learn(text.lines(middle, middle + 1))
        if learned is not None and learned not in self._forms:
            self._forms = (learned, *self._forms)[:FORMS_MAX]
            yield learned.read(text, frames)


def learn(frame: bytes) -> Form | None:
    """The form of a change; None if the frame is none, or if bytes alone do not give what the decoder gives."""
    decoded = decoder.decode(frame)
    if len(decoded) != 1:
        return None
    form = Form.of(frame)
    if form is None:
        return None
    fields = form.read(Text([frame], np.array([len(frame)])), np.array([0]))
    if not len(fields.frames) or fields.tickers[fields.ticker[0]] != decoded[0].msg.market_ticker:
        return None
    same = [column.tolist() for column in fields.columns] == decoder.values(decoded)
    return form if same else None


FORMS: Final = Forms()
