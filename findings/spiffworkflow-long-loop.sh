#!/usr/bin/env bash
# SpiffWorkflow 3.2.0: a process that goes round a loop too often is "completed" in the middle of it.
#
# Guess: a loop made of gateways goes round until its condition says so: 300 rounds or 400, and then the end event.
# Its documentation: loops back to an earlier gateway are the way to repeat a part of a process; no bound is named there.
# What it does: each step of a round hangs below the one before, and whoever looks for tasks (the engine, too) looks 1,000
#   deep. With three steps a round the 334th is never found: do_engine_steps() returns without an error, is_completed() says
#   True, the end event was not reached, the process has no data, and one task is still READY.
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
from_pypi SpiffWorkflow==3.2.0

cat >loop.bpmn <<'END'
<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
    id="d" targetNamespace="urn:example">
  <process id="p" isExecutable="true">
    <startEvent id="start"><outgoing>f1</outgoing></startEvent>
    <exclusiveGateway id="again"><incoming>f1</incoming><incoming>f4</incoming><outgoing>f2</outgoing></exclusiveGateway>
    <scriptTask id="page" scriptFormat="python"><incoming>f2</incoming><outgoing>f3</outgoing>
      <script>pages = pages + 1</script>
    </scriptTask>
    <exclusiveGateway id="more" default="f5"><incoming>f3</incoming><outgoing>f4</outgoing><outgoing>f5</outgoing></exclusiveGateway>
    <endEvent id="end"><incoming>f5</incoming></endEvent>
    <sequenceFlow id="f1" sourceRef="start" targetRef="again"/>
    <sequenceFlow id="f2" sourceRef="again" targetRef="page"/>
    <sequenceFlow id="f3" sourceRef="page" targetRef="more"/>
    <sequenceFlow id="f4" sourceRef="more" targetRef="again">
      <conditionExpression xsi:type="tFormalExpression">pages &lt; wanted</conditionExpression>
    </sequenceFlow>
    <sequenceFlow id="f5" sourceRef="more" targetRef="end"/>
  </process>
</definitions>
END
cat >experiment.py <<'END'
from SpiffWorkflow import TaskState
from SpiffWorkflow.bpmn import BpmnWorkflow
from SpiffWorkflow.bpmn.parser import BpmnParser

parser = BpmnParser()
parser.add_bpmn_file("loop.bpmn")
for wanted in (300, 400):
    workflow = BpmnWorkflow(parser.get_spec("p"))
    workflow.task_tree.data.update(pages=0, wanted=wanted)
    workflow.do_engine_steps()
    tasks = workflow.tasks.values()
    done = [task.task_spec.bpmn_id for task in tasks if task.state == TaskState.COMPLETED]
    ready = [task.task_spec.bpmn_id for task in tasks if task.state == TaskState.READY]
    print(f"{wanted} rounds wanted: {done.count('page')} done, is_completed() {workflow.is_completed()}")
    print(f"    end event reached: {'end' in done}, pages: {workflow.data.get('pages')}, still ready: {ready}")
END
observe env/bin/python experiment.py
expect <<'END'
300 rounds wanted: 300 done, is_completed() True
    end event reached: True, pages: 300, still ready: []
400 rounds wanted: 333 done, is_completed() True
    end event reached: False, pages: None, still ready: ['again']
END
