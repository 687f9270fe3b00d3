"""How much was compared, how much of it contradicts, and the first few contradictions. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

EXAMPLES_MAX: Final = 5
EXAMPLE_CHARACTERS_MAX: Final = 300


@dataclass
class Comparison:
    """One check: of an exported hour, of production, of the exchange, of a rehearsal. Examples are texts or rows."""

    check: str
    compared: int = 0
    failed: int = 0
    note: str = ""
    examples: list[Any] = field(default_factory=list)

    def fail(self, example: Any, count: int = 1) -> None:
        """Count contradictions, and keep the first few."""
        self.failed += count
        if len(self.examples) < EXAMPLES_MAX:
            self.examples.append(example[:EXAMPLE_CHARACTERS_MAX] if isinstance(example, str) else example)
