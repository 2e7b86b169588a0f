#!/usr/bin/env bash
# pybreaker 1.4.1: an error that the breaker is told to ignore closes it, and forgives the failures before.
#
# Guess: a call that ends with an excluded exception is counted neither as a failure nor as a success.
# Its documentation: such exceptions "should be ignored by the circuit breaker"; the call is no system failure.
# What it does: it counts as a success. It resets the count of failures, so a service of which two calls in three time out
#   and the third is refused never opens the circuit; and a single one closes a half-open circuit.
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
from_pypi pybreaker==1.4.1

cat >experiment.py <<'END'
import pybreaker


class Refused(Exception):
    """The caller's mistake, not the service's."""


def call(breaker, error):
    def fails():
        raise error

    try:
        breaker.call(fails)
    except (TimeoutError, Refused, pybreaker.CircuitBreakerError):
        pass


mixed = pybreaker.CircuitBreaker(fail_max=3, reset_timeout=600, exclude=[Refused])
for _ in range(100):
    call(mixed, TimeoutError())
    call(mixed, TimeoutError())
    call(mixed, Refused())
print("300 calls, 200 of them timeouts, fail_max=3:", mixed.current_state)

opened = pybreaker.CircuitBreaker(fail_max=3, reset_timeout=600, exclude=[Refused])
for _ in range(3):
    call(opened, TimeoutError())
print("three timeouts:", opened.current_state)
opened.half_open()
call(opened, Refused())
print("half-open, then one excluded error:", opened.current_state)
END
observe env/bin/python experiment.py
expect <<'END'
300 calls, 200 of them timeouts, fail_max=3: closed
three timeouts: open
half-open, then one excluded error: closed
END
