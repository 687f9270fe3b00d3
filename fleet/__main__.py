"""`fleet`: the operator's command line."""

from __future__ import annotations

from fleet.commands import ask, check, look, mend, rebuild, setup, stay
from fleet.commands.base import main

__all__ = ["ask", "check", "look", "main", "mend", "rebuild", "setup", "stay"]

if __name__ == "__main__":
    main()
