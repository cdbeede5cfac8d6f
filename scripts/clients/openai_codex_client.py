"""Drives Codex with OpenAI's Python SDK (`openai-codex`): arguments are the program, the model's URL and a number of
further close() to time. Prints what the SDK returned, as JSON."""

import json
import sys
import time
import urllib.request

from openai_codex import Codex, CodexConfig

program, model, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])


def item(it):
    it = it.root.model_dump(mode="json", exclude_none=True)
    return {key: it[key] for key in ("type", "text", "command", "aggregated_output", "exit_code") if key in it}


def result(turn):
    usage = turn.usage.total.model_dump(mode="json") if turn.usage else None
    return [turn.status.value, turn.final_response, [item(it) for it in turn.items], usage]


def waiting():
    return json.load(urllib.request.urlopen(model + "/v1/models"))["waiting"]


def closed(codex):
    began = time.perf_counter()
    codex.close()
    return time.perf_counter() - began


seen, times = [], []
codex = Codex(CodexConfig(codex_bin=program))
thread = codex.thread_start()
seen.append(result(thread.run("list what is here")))
seen.append(result(thread.run("say two")))
try:
    codex.thread_start().run("fail please")
except RuntimeError as error:
    seen.append(["raised", str(error)])
before = waiting()
turn = codex.thread_start().turn("wait please")
while waiting() == before:
    time.sleep(0.01)
turn.interrupt()
seen.append(result(turn.run()))
# Closed in the middle of a turn.
before = waiting()
codex.thread_start().turn("wait for the end")
while waiting() == before:
    time.sleep(0.01)
seen.append(["returned from close() in mid-turn within two seconds", closed(codex) < 2])
for _ in range(rounds):
    codex = Codex(CodexConfig(codex_bin=program))
    codex.thread_start().run("say again")
    times.append(closed(codex))
print(json.dumps({"seen": seen, "times": times}))
