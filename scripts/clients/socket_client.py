"""Drives `codex app-server` over a WebSocket on a port and on a Unix socket: arguments are the program, the model's URL
and a number, which is not used. Prints what the server answered, as JSON."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import websocket

program = sys.argv[1]
seen, times = [], []


class Server:
    def __init__(self, listen):
        self.process = subprocess.Popen([program, "app-server", "--listen", listen], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        url, sock = "ws://localhost/", None
        if listen.startswith("ws"):
            while not (found := re.search(r"ws://\S+", line := self.process.stderr.readline())):
                assert line, "the server ended"
            url = found.group(0)
        else:
            sock = socket.socket(socket.AF_UNIX)
            while sock.connect_ex(listen.removeprefix("unix://")):
                time.sleep(0.01)
        self.socket = websocket.create_connection(url, socket=sock, suppress_origin=True, timeout=60)
        self.count = 0
        self.request("initialize", {"clientInfo": {"name": "socket_client", "version": "1"}})
        self.socket.send(json.dumps({"method": "initialized"}))

    def receive(self, fits):
        while not fits(message := json.loads(self.socket.recv())):
            pass
        return message

    def request(self, method, params):
        self.count += 1
        self.socket.send(json.dumps({"id": self.count, "method": method, "params": params}))
        return self.receive(lambda message: message.get("id") == self.count)["result"]

    def begin(self, prompt):
        thread = self.request("thread/start", {})["thread"]["id"]
        self.request("turn/start", {"threadId": thread, "input": [{"type": "text", "text": prompt}]})

    def turn(self, prompt):
        self.begin(prompt)
        item = lambda message: message["params"]["item"] if message.get("method") == "item/completed" else {}
        text = self.receive(lambda message: item(message).get("type") == "agentMessage")["params"]["item"]["text"]
        ended = self.receive(lambda message: message.get("method") == "turn/completed")
        seen.append([ended["params"]["turn"]["status"], text])

    def end(self, *signals):
        began = time.perf_counter()
        for number in signals:
            self.process.send_signal(number)
            time.sleep(0.2)
        rest = self.process.communicate(timeout=60)
        seen.append(["code", self.process.returncode, rest[0]])
        times.append(time.perf_counter() - began - 0.2 * len(signals))


folder = os.environ["CODEX_HOME"]
for listen in ("ws://127.0.0.1:0", f"unix://{folder}/clients.sock"):
    server = Server(listen)
    server.turn("list what is here")
    server.turn("say two")
    server.end(signal.SIGTERM)
# A second SIGTERM ends a turn that the first one lets finish.
server = Server("ws://127.0.0.1:0")
server.begin("wait for the end")
time.sleep(0.5)
server.end(signal.SIGTERM, signal.SIGTERM)
print(json.dumps({"seen": seen, "times": times}))
