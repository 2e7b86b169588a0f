#!/usr/bin/env bash
# dramatiq 2.2.1: max_age counts the delay that was asked for, so a delayed message can be too old before it is due.
#
# Guess: max_age limits how long a message waits for a free worker; one that is sent with a longer delay runs when due.
# Its documentation: messages that have been in the queue for too long are dropped.
# What it does: the age counts from the moment of sending. A message whose delay is longer than its max_age is accepted,
#   held until it is due, and then moved to the dead letters, each time, on an idle worker.
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
from_pypi dramatiq==2.2.1

cat >experiment.py <<'END'
import logging

import dramatiq
from dramatiq.brokers.stub import StubBroker

logging.disable(logging.CRITICAL)
broker = StubBroker()
dramatiq.set_broker(broker)
ran = []


@dramatiq.actor(max_age=300_000)
def soon(name):
    ran.append(name)


@dramatiq.actor(max_age=500)
def later(name):
    ran.append(name)


worker = dramatiq.Worker(broker, worker_timeout=50, worker_threads=1)
worker.start()
soon.send_with_options(args=("delay 1 s, max_age 300 s",), delay=1_000)
later.send_with_options(args=("delay 1 s, max_age 0.5 s",), delay=1_000)
broker.join(soon.queue_name, fail_fast=False, timeout=60_000)
worker.stop()
print("ran:", ", ".join(ran))
print("dropped:", ", ".join(message.args[0] for message in broker.dead_letters))
END
observe env/bin/python experiment.py
expect <<'END'
ran: delay 1 s, max_age 300 s
dropped: delay 1 s, max_age 0.5 s
END
