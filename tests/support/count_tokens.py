"""Counts the tokens of session files, for comparison with `mlflow usage`: written without a look at the Rust code.

usage: count_tokens.py FOLDER...

Prints one JSON object: for each thread its input, cached, output and reasoning tokens.

Codex's own running totals are the measure. A total that falls began again at zero. A total that rises adds the
difference. The first total of a fork or a sub-agent holds what it inherited, so only the usage of its last response
counts. Lines that were copied from another thread count nothing. A usage record that no total follows is added.
"""

import json
import pathlib
import re
import sys

FIELDS = ["input_tokens", "cached_input_tokens", "output_tokens", "reasoning_output_tokens"]
NAME = re.compile(r"rollout-.{19}-([0-9a-f-]{36})(?:_([0-9a-f-]{36}))?\.jsonl$")


def counts(usage):
    return tuple(int((usage or {}).get(field) or 0) for field in FIELDS)


def add(a, b):
    return tuple(x + y for x, y in zip(a, b))


def difference(a, b):
    return tuple(x - y for x, y in zip(a, b))


ZERO = (0,) * len(FIELDS)


def lines_of(path):
    for line in path.read_bytes().split(b"\n"):
        try:
            line = json.loads(line)
        except ValueError:
            continue
        if isinstance(line, dict) and isinstance(line.get("payload"), dict):
            yield line.get("type"), line["payload"]


def own_lines(path, thread):
    """Without those that were copied from another thread.

    Copies follow the `session_meta` of that thread. They end where this thread's own next turn or message between agents
    begins (sub-agents), or at the first total that is less than the one before (Codex up to 0.4x, which copied what it
    resumed).
    """
    lines = list(lines_of(path))
    metas = [at for at, (kind, payload) in enumerate(lines) if kind == "session_meta"]
    foreign = [at for at in metas[1:] if lines[at][1].get("id") != lines[metas[0]][1].get("id")]
    if not foreign:
        return lines, None
    first = lines[metas[0]][1]
    if first.get("forked_from_id") or isinstance(first.get("source"), dict):
        starts = [at for at in range(foreign[-1], len(lines)) if lines[at][0] == "inter_agent_communication_metadata"
                  or lines[at][1].get("type") in ("task_started", "turn_started")]
        # The copied turn, which has no end, then the thread's own.
        begin = starts[1] if len(starts) > 1 else len(lines)
    else:
        totals = [(at, counts((payload.get("info") or {}).get("total_token_usage")))
                  for at, (kind, payload) in enumerate(lines) if payload.get("type") == "token_count"]
        falls = [at for (_, before), (at, total) in zip(totals, totals[1:]) if sum(total) < sum(before)]
        begin = falls[0] if falls else len(lines)
    copied = [payload for kind, payload in lines[:begin] if payload.get("type") == "token_count"]
    last = [counts((payload.get("info") or {}).get("total_token_usage")) for payload in copied if payload.get("info")]
    return lines[begin:], (last[-1] if last else None)


def count(path, thread, inherits):
    lines, before = own_lines(path, thread)
    total, own, recorded, seen = before, ZERO, ZERO, set()
    for kind, payload in lines:
        if kind == "token_usage_record":
            if payload.get("response_id") not in seen:
                seen.add(payload.get("response_id"))
                recorded = add(recorded, counts(payload.get("usage")))
            continue
        info = payload.get("info") if payload.get("type") == "token_count" else None
        if not info or not info.get("total_token_usage"):
            continue
        now, last = counts(info["total_token_usage"]), counts(info.get("last_token_usage"))
        if total is None:
            added = last if inherits and sum(last) else now
        elif now == total:
            continue
        elif min(difference(now, total)) < 0 or now == last:
            added = last if sum(last) else now
        else:
            added = difference(now, total)
        total = now
        # A record and the total after it are one response; the record is the more exact of the two.
        own = add(own, recorded if sum(recorded) else added)
        recorded = ZERO
    return add(own, recorded)


def main():
    threads = {}
    for folder in sys.argv[1:]:
        for path in sorted(pathlib.Path(folder).rglob("*.jsonl")):
            meta = next((payload for kind, payload in lines_of(path) if kind == "session_meta"), {})
            found = NAME.match(path.name)
            thread, rewound = found.groups() if found else (meta.get("id"), None)
            if not thread:
                continue
            inherits = bool(rewound or meta.get("forked_from_id") or meta.get("history_base")
                            or isinstance(meta.get("source"), dict))
            own = count(path, thread, inherits)
            threads.setdefault(thread, {})[rewound] = max(threads.get(thread, {}).get(rewound, ZERO), own)
    print(json.dumps({thread: dict(zip(FIELDS, [sum(part) for part in zip(*files.values())]))
                      for thread, files in threads.items()}))


main()
