"""What one check of the doctor found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Finding:
    """One check. With a `cure` where something is to be done; `ok` all the same: it works, but a person should look."""

    check: str
    ok: bool
    text: str
    cure: str = ""

    @property
    def state(self) -> str:
        """`wrong` keeps the process from working, `look` does not."""
        return "wrong" if not self.ok else "look" if self.cure else "fine"

    def row(self) -> dict[str, Any]:
        """To be shown, the most important first."""
        return {"check": self.check, "state": self.state, "text": self.text, "cure": self.cure, "ok": self.ok}
