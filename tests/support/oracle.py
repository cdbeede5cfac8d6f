"""Reads a tracking store with MLflow's own client, any version from 3.2 to 3.18.

Importing MLflow is most of the cost of a call. So one process imports it, makes the socket that it prints, and answers
each connection in a fork of itself, which has a home and an environment of its own. It ends when its stdin closes.

A request: {"uri": "sqlite:///…", "home": "/…", "variables": {"NAME": "value"}, "verbs": [{"verb": "traces"}, …]};
the reply: {"answers": […], "output": "…"}, one answer per verb, or {"failure": "…", "output": "…"}.
"""
import importlib
import inspect
import json
import os
import select
import shutil
import signal
import socket
import sys
import tempfile
import threading
import traceback

FOLDER = tempfile.mkdtemp(prefix="codex-traced-oracle-")
os.environ["HOME"] = FOLDER
os.chdir(FOLDER)

import mlflow
from mlflow import MlflowClient
from mlflow.entities import AssessmentSource, SpanEvent, SpanStatus, SpanStatusCode, ViewType
from mlflow.exceptions import MlflowException


def traces(client):
    """Every trace of every experiment, oldest first."""
    experiments = {e.experiment_id: e.name for e in client.search_experiments(view_type=ViewType.ALL)}
    read = []
    for trace_id in trace_ids(client, experiments):
        try:
            read.append(trace_as_json(client.get_trace(trace_id), experiments))
        except MlflowException:
            # Another test has deleted it if it is not listed any more.
            if trace_id in trace_ids(client, experiments):
                raise
    return sorted(read, key=lambda trace: (trace["request_time_ms"], trace["trace_id"]))


def trace_ids(client, experiments):
    # `locations` has replaced `experiment_ids`.
    known = inspect.signature(client.search_traces).parameters
    where = "locations" if "locations" in known else "experiment_ids"
    found, token = [], None
    while experiments:
        page = client.search_traces(
            **{where: list(experiments)}, include_spans=False, max_results=100, page_token=token
        )
        found += [trace.info.trace_id for trace in page]
        token = page.token
        if not token:
            break
    return found


def trace_as_json(trace, experiments):
    info = trace.info
    names = {span.span_id: span.name for span in trace.data.spans}
    return {
        "trace_id": info.trace_id,
        "name": info.tags.get("mlflow.traceName"),
        "experiment_id": info.experiment_id,
        "experiment": experiments.get(info.experiment_id),
        "state": info.state.value,
        "request_time_ms": info.request_time,
        "duration_ms": info.execution_duration,
        "request_preview": info.request_preview,
        "response_preview": info.response_preview,
        "tags": info.tags,
        "metadata": info.trace_metadata,
        "token_usage": info.token_usage,
        "assessments": [assessment.to_dictionary() for assessment in info.assessments],
        "spans": [span_as_json(span, names) for span in trace.data.spans],
    }


def span_as_json(span, names):
    return {
        "span_id": span.span_id,
        "parent_id": span.parent_id,
        "parent": names.get(span.parent_id),
        "name": span.name,
        "type": span.span_type,
        "status": span.status.status_code.value,
        "message": span.status.description,
        "start_ns": span.start_time_ns,
        "end_ns": span.end_time_ns,
        "inputs": span.inputs,
        "outputs": span.outputs,
        "attributes": span.attributes,
        "events": [
            {"name": event.name, "time_ns": event.timestamp, "attributes": event.attributes}
            for event in span.events
        ],
    }


def answer(client, verb):
    kind = verb["verb"]
    person = AssessmentSource(source_type="HUMAN", source_id="tester")
    if kind == "traces":
        return traces(client)
    if kind == "open":
        client.search_experiments()
    elif kind == "feedback":
        mlflow.log_feedback(trace_id=verb["trace_id"], name=verb["name"], value=verb["value"], source=person)
    elif kind == "expectation":
        mlflow.log_expectation(trace_id=verb["trace_id"], name=verb["name"], value=verb["value"], source=person)
    elif kind == "tag":
        client.set_trace_tag(verb["trace_id"], verb["key"], verb["value"])
    elif kind == "rename":
        client.set_trace_tag(verb["trace_id"], "mlflow.traceName", verb["name"])
    elif kind == "sample":
        return sample(client)
    elif kind == "evaluate":
        return evaluate(verb["traces"])
    elif kind == "trace":
        return trace_as_json(client.get_trace(verb["trace_id"]), {})
    elif kind == "log":
        return log(client, verb["experiment"], verb["trace"])
    else:
        raise ValueError(f"no such verb: {kind}")
    return None


def evaluate(traces):
    """What scorers are given of these traces, and what MLflow's judges make of it."""
    from mlflow.genai.scorers import scorer
    from mlflow.genai.utils import trace_utils

    given = {}

    @scorer
    def looks(inputs, outputs, trace):
        given[trace.info.trace_id] = {"inputs": inputs, "outputs": outputs}
        return True

    traces = [mlflow.get_trace(trace_id) for trace_id in traces]
    mlflow.set_experiment(experiment_id=traces[0].info.experiment_id)
    mlflow.genai.evaluate(data=traces, scorers=[looks])
    return [
        given[trace.info.trace_id]
        | {
            "request": trace_utils.extract_request_from_trace(trace),
            "response": trace_utils.extract_response_from_trace(trace),
            "tools": [call.model_dump() for call in trace_utils.extract_tools_called_from_trace(trace)],
        }
        for trace in traces
    ]


def sample(client):
    """A small trace made by MLflow itself, in an experiment of its own."""
    mlflow.set_experiment("samples")
    with mlflow.start_span("agent", span_type="AGENT") as root:
        root.set_inputs({"prompt": "hi"})
        root.set_outputs({"response": "done", "status": "completed"})
        with mlflow.start_span("llm", span_type="LLM") as llm:
            usage = {"input_tokens": 10, "output_tokens": 2, "total_tokens": 12, "cache_read_input_tokens": 4}
            llm.set_attribute("mlflow.chat.tokenUsage", usage)
        with mlflow.start_span("tool", span_type="TOOL") as tool:
            tool.set_inputs({"cmd": "exit 3"})
            tool.set_attribute("exit_code", 3)
            tool.set_status("ERROR")
    return root.trace_id


def log(client, path, told):
    """This trace, by the calls that a program would make."""
    from mlflow.tracing.trace_manager import InMemoryTraceManager

    known = client.get_experiment_by_name(path)
    experiment = known.experiment_id if known else client.create_experiment(path)
    begun = {}
    for span in told["spans"]:
        parent = begun.get(span["parent"])
        of_trace = {"experiment_id": experiment, "tags": told["tags"], "metadata": told["metadata"]}
        begun[span["id"]] = mlflow.start_span_no_context(
            span["name"],
            span_type=span["type"],
            parent_span=parent,
            inputs=span["inputs"],
            attributes=span["attributes"],
            start_time_ns=span["start_ns"],
            **({} if parent else of_trace),
        )
    root = begun[told["spans"][0]["id"]]
    with InMemoryTraceManager.get_instance().get_trace(root.trace_id) as trace:
        trace.info.request_preview = told["request_preview"]
        trace.info.response_preview = told["response_preview"]
    # The root last: its end is the trace's.
    for span in reversed(told["spans"]):
        live = begun[span["id"]]
        for event in span["events"]:
            live.add_event(SpanEvent(event["name"], timestamp=event["time_ns"], attributes=event["attributes"]))
        if span["error"] is not None:
            live.set_status(SpanStatus(SpanStatusCode.ERROR, span["error"]))
        if span["outputs"] is not None:
            live.set_outputs(span["outputs"])
        live.end(end_time_ns=span["end_ns"])
    return root.trace_id


def reply_to(connection):
    """Runs in a fork. The connection closes when the process has ended, with all that MLflow does at its end."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    request = json.load(connection.makefile())
    os.environ.update(request["variables"], HOME=request["home"])
    os.chdir(request["home"])
    output = tempfile.TemporaryFile("w+")
    for stream in (1, 2):
        os.dup2(output.fileno(), stream)
    try:
        mlflow.set_tracking_uri(request["uri"])
        client = MlflowClient()
        reply = {"answers": [answer(client, verb) for verb in request["verbs"]]}
    except Exception:
        reply = {"failure": traceback.format_exc()}
    sys.stdout.flush()
    output.seek(0)
    reply["output"] = output.read()
    connection.sendall(json.dumps(reply, default=str).encode())


def main():
    for kind in ("sqlalchemy", "file", "rest"):
        importlib.import_module(f"mlflow.store.tracking.{kind}_store")
    assert threading.active_count() == 1, f"a fork would lose threads: {threading.enumerate()}"
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    path = os.path.join(FOLDER, "socket")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    print(path, flush=True)
    while True:
        ready, _, _ = select.select([listener, sys.stdin], [], [])
        if sys.stdin in ready:
            break
        connection, _ = listener.accept()
        if os.fork() == 0:
            return reply_to(connection)
        connection.close()
    shutil.rmtree(FOLDER)


main()
