"""Ports of fleets on one machine."""

from __future__ import annotations

import socket

from workshop.rehearsal.local import free_port


def test_no_port_is_given_twice_and_none_that_is_taken() -> None:
    """A fleet's processes get theirs before any of them listens."""
    given = [free_port() for _ in range(1000)]
    assert len(set(given)) == len(given)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", given[-1] + 1))  # the next one, if it has not come to the range's end
        assert free_port() != given[-1] + 1
