"""A program that traces itself, and runs a command as a child of its span. Arguments: address, project, command."""

import os
import subprocess
import sys

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.propagate import inject
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

address, project, *command = sys.argv[1:]
provider = TracerProvider(resource=Resource({"openinference.project.name": project}))
provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(endpoint=f"{address}/v1/traces")))
trace.set_tracer_provider(provider)
with trace.get_tracer("caller").start_as_current_span("a nightly job"):
    carrier = {}
    inject(carrier)
    subprocess.run(command, env=dict(os.environ, TRACEPARENT=carrier["traceparent"]), check=True)
provider.shutdown()
