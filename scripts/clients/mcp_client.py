"""Calls Codex's MCP server with the MCP project's own client (`mcp`): arguments are the program, the model's URL and a
number of further sessions whose end is timed. Prints what the client was given, as JSON."""

import json
import os
import sys
import time

import anyio
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

program, rounds = sys.argv[1], int(sys.argv[3])
seen, times = [], []


def texts(result):
    failed = getattr(result, "is_error", getattr(result, "isError", None))
    return [[part.text for part in result.content], bool(failed)]


async def serve(calls):
    server = StdioServerParameters(command=program, args=["mcp-server"], env=dict(os.environ))
    async with stdio_client(server) as (read, write):
        async with ClientSession(read, write) as session:
            await session.initialize()
            await calls(session)
        began = time.perf_counter()
    times.append(time.perf_counter() - began)


async def talk(session):
    seen.append([tool.name for tool in (await session.list_tools()).tools])
    begun = await session.call_tool("codex", {"prompt": "list what is here"})
    seen.append(texts(begun))
    content = getattr(begun, "structured_content", getattr(begun, "structuredContent", None))
    more = {"threadId": content["threadId"], "prompt": "say two"}
    seen.append(texts(await session.call_tool("codex-reply", more)))
    seen.append(texts(await session.call_tool("codex", {"prompt": "fail please"})))


async def again(session):
    await session.call_tool("codex", {"prompt": "say again"})


async def main():
    await serve(talk)
    for _ in range(rounds):
        await serve(again)


anyio.run(main)
print(json.dumps({"seen": seen, "times": times[1:]}))
