"""A gatherer that comes back with hours to tell holds up nobody, and nobody holds it up for ever."""

from __future__ import annotations

from deduplicator.catch_up import CatchUp


def test_late_is_who_is_behind_the_others() -> None:
    """Not who is behind the clock: after an absence of the deduplicator all are behind alike."""
    catch_up = CatchUp(late_us=100, share=0.5)
    assert not catch_up.is_late(0)
    catch_up.saw(1000)
    catch_up.saw(500)
    assert catch_up.is_late(899) and not catch_up.is_late(900) and not catch_up.is_late(5000)


def test_its_share_is_kept_whatever_a_step_takes() -> None:
    """Steps of one second: in a hundred seconds a quarter of them, and never none."""
    catch_up, now, late = CatchUp(100, 0.25), 0.0, 0
    while now < 100:
        if catch_up.may(now):
            late += 1
            catch_up.took(1.0, now + 1)
        now += 1
    assert 24 <= late <= 26
    everything = CatchUp(100, 1.0)
    everything.took(50.0, 50.0)
    assert everything.may(50.0)
