"""A model for clients: answers the Responses API by the words of the newest prompt, on 127.0.0.1.

say WORD    answers WORD
list        calls exec_command `ls`, then answers "listed"
fail        ends the response as failed
wait        answers nothing until the client leaves; `Model.waiting` counts such requests
"""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

USAGE = {"input_tokens": 1000, "input_tokens_details": {"cached_tokens": 400}, "output_tokens": 10,
         "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 1010}


class Model:
    def __init__(self):
        self.waiting = 0
        self.stopped = threading.Event()
        model = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                body = json.dumps({"models": [], "waiting": model.waiting}).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self):
                request = json.loads(self.rfile.read(int(self.headers["content-length"])))
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.end_headers()
                try:
                    model.answer(self, request)
                except (BrokenPipeError, ConnectionResetError):
                    pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, http, request):
        def send(kind, **fields):
            http.wfile.write(f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode())
            http.wfile.flush()

        # As long as an id of the API.
        number = f"{time.monotonic_ns():032x}"
        send("response.created", response={"id": f"resp_{number}"})
        prompt = words_of(request["input"])
        if prompt.startswith("wait"):
            self.waiting += 1
            while not self.stopped.wait(0.1):
                send("response.in_progress", response={"id": f"resp_{number}"})
            return
        if prompt.startswith("fail"):
            error = {"code": "insufficient_quota", "message": "no money left"}
            return send("response.failed", response={"id": f"resp_{number}", "error": error})
        if prompt.startswith("list") and request["input"][-1].get("type") != "function_call_output":
            item = {"type": "function_call", "id": f"fc_{number}", "call_id": f"call_{number}",
                    "name": "exec_command", "arguments": json.dumps({"cmd": "ls"})}
        else:
            text = "listed" if prompt.startswith("list") else prompt.removeprefix("say ")
            item = {"type": "message", "id": f"msg_{number}", "role": "assistant",
                    "content": [{"type": "output_text", "text": text}]}
        send("response.output_item.done", output_index=0, item=item)
        send("response.completed", response={"id": f"resp_{number}", "usage": USAGE})


def words_of(items):
    """The newest text of the user that is no context of Codex."""
    texts = [part["text"] for item in items if item.get("role") == "user"
             for part in item["content"] if part["type"] == "input_text"]
    return next((text for text in reversed(texts) if not text.startswith("<")), "")
