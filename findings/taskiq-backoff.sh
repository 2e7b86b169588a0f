#!/usr/bin/env bash
# taskiq 0.13.0, SmartRetryMiddleware: "exponential" delays are factorial or linear, and jitter piles up.
#
# Guess: with default_delay=1 and use_delay_exponent=True the delays are 1, 2, 4, 8, 16, 32 s, whoever carries the task
#   back to its queue; with use_jitter=True each is 1 to 2 s.
# Its documentation: "exponential backoff", a cap of 60 s, and jitter as a random addition to each delay.
# What it does: a delay is the one in the message times the number of the retry. Without a schedule source the new delay
#   is written into the message, so the next one is made from it: 1, 2, 6, 24, then the cap. With a schedule source it is
#   not, and the same settings give 1, 2, 3, 4, 5, 6. Jitter alone adds to the delay of the retry before.
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
from_pypi taskiq==0.13.0

cat >experiment.py <<'END'
import asyncio
import logging
import random

from taskiq import InMemoryBroker, ScheduleSource, SmartRetryMiddleware
from taskiq.kicker import AsyncKicker

logging.disable(logging.CRITICAL)
random.seed(1)


class AtOnce(ScheduleSource):
    """Sends what it is given without waiting for its time."""

    async def get_schedules(self):
        return []

    async def add_schedule(self, schedule):
        kicker = AsyncKicker(schedule.task_name, self.broker, schedule.labels)
        await kicker.with_task_id("again").kiq(*schedule.args, **schedule.kwargs)


class Watched(SmartRetryMiddleware):
    """Keeps each delay that the middleware chooses."""

    delays = ()

    def make_delay(self, message, retries):
        delay = super().make_delay(message, retries)
        self.delays = (*self.delays, delay)
        return delay


async def delays(source=None, **settings):
    middleware = Watched(default_retry_count=7, default_retry_label=True, default_delay=1, schedule_source=source, **settings)
    broker = InMemoryBroker(await_inplace=True).with_middlewares(middleware)
    if source is not None:
        source.broker = broker

    @broker.task(task_name="fails")
    async def fails():
        raise ValueError

    await broker.startup()
    await fails.kiq()
    await broker.shutdown()
    return middleware.delays


async def main():
    def line(values):
        return " ".join(f"{value:g}" for value in values)

    print("exponent, by the broker:        ", line(await delays(use_delay_exponent=True)))
    print("exponent, by a schedule source: ", line(await delays(AtOnce(), use_delay_exponent=True)))
    jittered = await delays(use_jitter=True)
    grows = all(a < b for a, b in zip(jittered, jittered[1:]))
    print("jitter alone: each delay is longer than the one before:", grows)
    print("jitter alone: the sixth is above default_delay + 1:", jittered[5] > 2)


asyncio.run(main())
END
observe env/bin/python experiment.py
expect <<'END'
exponent, by the broker:         1 2 6 24 60 60
exponent, by a schedule source:  1 2 3 4 5 6
jitter alone: each delay is longer than the one before: True
jitter alone: the sixth is above default_delay + 1: True
END
