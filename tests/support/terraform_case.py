"""What the tests of the Terraform files need: the program, and the provider."""

from __future__ import annotations

import shutil

import pytest

from workshop.generate.terraform import missing

NEEDS_TERRAFORM = pytest.mark.skipif(shutil.which("terraform") is None, reason="no terraform on this machine")
NEEDS_PROVIDER = pytest.mark.skipif(missing() is not None, reason=missing() or "")
