"""How much the tests with large counts do: `make test-long` does all of it."""

from __future__ import annotations

import os

LONG = bool(os.environ.get("FLEET_TEST_LONG"))
