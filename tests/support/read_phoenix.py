import json
import sys

from phoenix.client import Client

address, project = sys.argv[1:]
spans = Client(base_url=address).spans.get_spans(project_identifier=project, limit=1000)
print(json.dumps([dict(span) for span in spans], default=str))
