"""An MCP server over stdio: `add` adds, `refuse` answers with an error of its own, `break` with one of the protocol."""
import json
import sys

TOOLS = {
    "add": {"a": {"type": "number"}, "b": {"type": "number"}},
    "refuse": {},
    "break": {},
}


def listed():
    schemas = {name: {"type": "object", "properties": fields} for name, fields in TOOLS.items()}
    return {"tools": [{"name": name, "description": name, "inputSchema": schema} for name, schema in schemas.items()]}


def called(name, arguments):
    if name == "add":
        total = arguments["a"] + arguments["b"]
        return {"content": [{"type": "text", "text": str(total)}], "structuredContent": {"sum": total}}
    if name == "refuse":
        return {"content": [{"type": "text", "text": "not on a Sunday"}], "isError": True}
    return None


def answer(method, params):
    if method == "initialize":
        server = {"name": "sums", "version": "1"}
        return {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": server}
    if method == "tools/list":
        return listed()
    if method == "tools/call":
        return called(params["name"], params.get("arguments") or {})
    return {}


for line in sys.stdin:
    request = json.loads(line)
    if "id" not in request:
        continue
    result = answer(request["method"], request.get("params") or {})
    reply = {"jsonrpc": "2.0", "id": request["id"]}
    if result is None:
        reply["error"] = {"code": -32603, "message": "the tool broke"}
    else:
        reply["result"] = result
    print(json.dumps(reply), flush=True)
