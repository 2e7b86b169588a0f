#!/usr/bin/env bash
# conductor-python 2.0.0: where one field of a dataclass is missing in a task's input, the others lose their defaults.
#
# Guess: for a worker that takes a dataclass, an input without the required `customer` fails the task, or gives None for
#   `customer`; either way `notify: bool = True` is True where the input does not name it.
# Its documentation: dataclasses as a worker's parameter are converted from the task's input.
# What it does: as long as nothing required is missing, defaults hold. As soon as one required field is missing, each
#   field that the input does not name becomes None, those with a default too: `notify` is None, which is false, and the
#   task is COMPLETED. An input with one mistake switches off what it says nothing about.
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
from_pypi conductor-python==2.0.0

cat >experiment.py <<'END'
import logging
from dataclasses import dataclass

from conductor.client.http.models.task import Task
from conductor.client.worker.worker import Worker

logging.disable(logging.CRITICAL)


@dataclass
class Order:
    customer: str
    article: str
    notify: bool = True
    copies: int = 1


def ship(order: Order):
    print("   ", order)
    return {}


for given in ({"customer": "c-1", "article": "a-1"}, {"article": "a-1"}):
    print(given)
    task = Task(task_id="t", workflow_instance_id="w", task_def_name="ship", input_data={"order": given})
    print("   ", Worker("ship", ship).execute(task).status.name)
END
observe env/bin/python experiment.py
expect <<'END'
{'customer': 'c-1', 'article': 'a-1'}
    Order(customer='c-1', article='a-1', notify=True, copies=1)
    COMPLETED
{'article': 'a-1'}
    Order(customer=None, article='a-1', notify=None, copies=None)
    COMPLETED
END
