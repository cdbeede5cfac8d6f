#!/usr/bin/env python3
"""Stands in for Codex: holds the locks of threads, and appends lines to their session files.

The plan (JSON, the file that LIVE_PLAN names): "threads": [{"id", "file", "turn"}]; "lines": a file of lines to append, or
null; "pause": seconds between two lines; "bursts": how many lines come at once; "seconds": how long it lives; "rests":
[every N writes, seconds]. THREAD and TURN in a line are ids of the thread and its turn. It notes the time of its end in the file "ended" of its
working folder.
"""
import fcntl, json, os, resource, sys, time

plan = json.load(open(os.environ["LIVE_PLAN"]))
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
home, began = os.environ["CODEX_HOME"], time.monotonic()
os.makedirs(home + "/thread-writer-locks", exist_ok=True)
locks = []
for thread in plan["threads"]:
    lock = open(f"{home}/thread-writer-locks/{thread['id']}.lock", "w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    locks.append(lock)
    os.utime(thread["file"])
    if len(plan["threads"]) > 1:
        time.sleep(0.01)
print("ready", flush=True)


def lives():
    return time.monotonic() - began < plan["seconds"]


if plan["lines"]:
    lines = open(plan["lines"]).read().splitlines(keepends=True)
    due, place, rests = time.monotonic(), 0, plan.get("rests") or [0, 0]
    while lives():
        due += plan["pause"]
        time.sleep(max(0, due - time.monotonic()))
        thread = plan["threads"][place % len(plan["threads"])]
        with open(thread["file"], "a") as file:
            for number in range(plan["bursts"]):
                line = lines[(place // len(plan["threads"]) * plan["bursts"] + number) % len(lines)]
                line = line.replace("THREAD", thread["id"]).replace("TURN", thread["turn"])
                file.write(line.replace("ROUND", f"s{place // 1540}"))
        place += 1
        if rests[0] and place % rests[0] == 0:
            time.sleep(rests[1])
            due = time.monotonic()
while lives():
    time.sleep(min(0.05, max(0.001, plan["seconds"] - (time.monotonic() - began))))
with open("ended", "w") as note:
    note.write(str(time.time_ns()))
    note.flush()
    os._exit(7)
