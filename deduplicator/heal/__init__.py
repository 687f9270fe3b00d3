"""`fleet heal`: one market's stretch merged again from what the gatherers still have, and production mended by it.

The same pure merge, over the rows of one market. What is mended: changes that production lacks; runs that were excluded
in a contradiction and are now in the right (a third copy came later); gaps that those cover; unplaced rows that
have found their place. What production has otherwise than the gatherers is reported, and never overwritten: nobody
claims such a millisecond, and it is listed as a contradiction and as a gap. Where a gatherer that takes no part claims
something, and none of those that do claimed it before, nothing is decided: it may have outvoted them. A deduplicator
that runs notices (`store.lease.heals`) and makes its state again.

asked         what is asked, and what is answered
copies        what the gatherers have of it
remerged      the stretch merged again, and what that decides
changes       changes that production lacks, or has otherwise
runs          claims that runs get back
gaps          gaps that claims cover now, and gaps that are new
transaction   all of it, in one transaction of production
"""

from deduplicator.heal.asked import AskedMarket, Healed
from deduplicator.heal.transaction import heal

__all__ = ["AskedMarket", "Healed", "heal"]
