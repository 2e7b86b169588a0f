"""The official Python client registers, starts and completes workflows; each end is checked.

The server is named by CONDUCTOR_SERVER_URL, the key by CONDUCTOR_AUTH_KEY and CONDUCTOR_AUTH_SECRET.
"""

import os
import sys
import time

from conductor.client.automator.task_handler import TaskHandler
from conductor.client.configuration.configuration import Configuration
from conductor.client.http.models import StartWorkflowRequest, TaskDef, WorkflowDef, WorkflowTask
from conductor.client.orkes_clients import OrkesClients
from conductor.client.worker.worker_task import worker_task

# Two 64-bit words are not enough for it.
BIG = 123456789012345678901234567890
DEADLINE_S = 40


@worker_task(task_definition_name="py_greet", poll_interval_millis=50)
def greet(name: str, number: int) -> dict:
    return {"greeting": f"Hello, {name}", "number": number}


@worker_task(task_definition_name="py_shout", poll_interval_millis=50)
def shout(text: str) -> dict:
    return {"loud": text.upper()}


@worker_task(task_definition_name="py_flaky", poll_interval_millis=50)
def flaky(marker: str) -> dict:
    # Fails the first time, in whichever process it runs.
    try:
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return {"attempt": 2}
    raise RuntimeError("the first attempt fails")


def task(name: str, reference: str, parameters: dict) -> WorkflowTask:
    return WorkflowTask(name=name, task_reference_name=reference, type="SIMPLE", input_parameters=parameters)


def register(metadata) -> None:
    for name in ("py_greet", "py_shout", "py_flaky"):
        metadata.register_task_def(
            TaskDef(name=name, retry_count=2, retry_delay_seconds=1, response_timeout_seconds=10)
        )
    greet_task = task("py_greet", "greet", {"name": "${workflow.input.name}", "number": "${workflow.input.number}"})
    shout_task = task("py_shout", "shout", {"text": "${greet.output.greeting}"})
    chain = WorkflowDef(name="py_chain", version=1, tasks=[greet_task, shout_task])
    chain.output_parameters = {"loud": "${shout.output.loud}", "number": "${greet.output.number}"}
    retry = WorkflowDef(name="py_retry", version=1, tasks=[task("py_flaky", "flaky", {"marker": "${workflow.input.marker}"})])
    for definition in (chain, retry):
        metadata.register_workflow_def(definition, overwrite=True)
    assert metadata.get_task_def("py_greet") is not None, "the task definition cannot be read back"
    assert metadata.get_workflow_def("py_chain", 1).name == "py_chain", "the workflow definition cannot be read back"


def wait(workflows, workflow_id: str):
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        workflow = workflows.get_workflow(workflow_id, include_tasks=True)
        if workflow.status != "RUNNING":
            return workflow
        time.sleep(0.1)
    raise AssertionError(f"workflow {workflow_id} has not ended after {DEADLINE_S} s")


def check(workflows) -> None:
    marker = os.path.join(os.environ.get("TMPDIR", "/tmp"), f"downbeat-flaky-{os.getpid()}")
    start = lambda name, given: workflows.start_workflow(StartWorkflowRequest(name=name, version=1, input=given))
    try:
        chain = start("py_chain", {"name": "Ada", "number": BIG})
        retry = start("py_retry", {"marker": marker})

        workflow = wait(workflows, chain)
        assert workflow.status == "COMPLETED", f"py_chain is {workflow.status}: {workflow.reason_for_incompletion}"
        expected = {"loud": "HELLO, ADA", "number": BIG}
        assert workflow.output == expected, f"py_chain gave {workflow.output}"
        assert [each.status for each in workflow.tasks] == ["COMPLETED"] * 2, workflow.tasks

        workflow = wait(workflows, retry)
        assert workflow.status == "COMPLETED", f"py_retry is {workflow.status}: {workflow.reason_for_incompletion}"
        ends = [(each.status, each.retry_count) for each in workflow.tasks]
        assert ends == [("FAILED", 0), ("COMPLETED", 1)], f"py_retry went {ends}"
        assert workflow.output["attempt"] == 2, workflow.output
    finally:
        if os.path.exists(marker):
            os.remove(marker)


def main() -> int:
    configuration = Configuration()
    clients = OrkesClients(configuration=configuration)
    register(clients.get_metadata_client())
    handler = TaskHandler(configuration=configuration, scan_for_annotated_workers=True)
    handler.start_processes()
    try:
        check(clients.get_workflow_client())
    except AssertionError as wrong:
        print(f"python-client: FAILED: {wrong}", file=sys.stderr)
        return 1
    finally:
        handler.stop_processes()
    print("python-client: passed: 2 workflows completed, 1 task failed and was retried")
    return 0


if __name__ == "__main__":
    sys.exit(main())
