#!/usr/bin/env bash
# limits 5.8.0: a refused hit uses up a fixed window, and leaves the two other kinds of window alone.
#
# Guess: hit() that gives False takes nothing. After 5 of 10, a hit of 6 is refused, and one of 1 is allowed, whichever
#   strategy is chosen; the strategies differ in when budget comes back.
# Its documentation: hit() consumes from the limit and says whether it could; all requests in a fixed window increment its
#   counter, and further ones are rejected. A request of a cost that is refused is not spoken of.
# What it does: the fixed window adds first and compares then. The refused 6 makes it 11 of 10, and everything is refused
#   until the window ends, however small; one big request that can never pass starves all small ones. The moving window
#   and the sliding counter compare first.
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
from_pypi limits==5.8.0

cat >experiment.py <<'END'
from limits import parse, storage, strategies

for strategy in ("FixedWindow", "MovingWindow", "SlidingWindowCounter"):
    limiter = getattr(strategies, f"{strategy}RateLimiter")(storage.MemoryStorage())
    # A window of many years: none ends during the run.
    limit = parse("10/100 years")
    hits = [f"{cost}: {limiter.hit(limit, 'caller', cost=cost)}" for cost in (5, 6, 1)]
    print(f"{strategy}:", ", ".join(hits))
END
observe env/bin/python experiment.py
expect <<'END'
FixedWindow: 5: True, 6: False, 1: False
MovingWindow: 5: True, 6: False, 1: True
SlidingWindowCounter: 5: True, 6: False, 1: True
END
