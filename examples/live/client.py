"""Reads the newest trace of a tracking store again and again, and prints a line of JSON for each form that it sees.

Arguments: the URI, and the pause between two reads in seconds. Prints "ready" when it is connected; it watches the
first trace that is not there yet, and ends when its stdin ends.
"""
import json
import os
import sys
import threading
import time

from mlflow import MlflowClient
from mlflow.entities import ViewType


def spans_of(trace):
    for span in trace.data.spans:
        outputs = span.outputs if isinstance(span.outputs, dict) else {}
        yield {
            "name": span.name,
            "call": span.attributes.get("tool_id"),
            "is_running": outputs.get("status") == "running",
            "has_outputs": bool(outputs),
            "has_tokens": span.attributes.get("mlflow.chat.tokenUsage") is not None,
            "status": span.status.status_code.value,
        }


def ids_in(client):
    experiments = [experiment.experiment_id for experiment in client.search_experiments(view_type=ViewType.ALL)]
    found = client.search_traces(locations=experiments, include_spans=False, max_results=50)
    return [trace.info.trace_id for trace in found]


def main():
    client, pause = MlflowClient(sys.argv[1]), float(sys.argv[2])
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    known = set(ids_in(client))
    print("ready", flush=True)
    trace_id, last = None, None
    while True:
        began = time.time_ns()
        try:
            trace_id = trace_id or next((one for one in ids_in(client) if one not in known), None)
            trace = trace_id and client.get_trace(trace_id)
        except Exception as error:
            # Its information may be there before its spans.
            print(json.dumps({"error": f"{type(error).__name__}: {error}"[:300]}), file=sys.stderr, flush=True)
            trace = None
        if trace:
            seen = {"state": trace.info.state.value, "spans": list(spans_of(trace))}
            if seen != last:
                print(json.dumps({"began": began, "at": time.time_ns()} | seen), flush=True)
                last = seen
        time.sleep(pause)


main()
