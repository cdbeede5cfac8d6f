"""What databricks-sdk makes of variables and files: where it goes, and with which token.

stdin: [{"home": "/…", "profile": null or "name", "variables": {…}}, …]; stdout: a JSON list of
{"host", "authorization"}, or null where it refuses.
"""
import json
import logging
import os
import sys

from databricks.sdk.core import Config

logging.disable(logging.CRITICAL)


def decided(case):
    for name in [name for name in os.environ if name.startswith(("DATABRICKS_", "ARM_"))]:
        del os.environ[name]
    os.environ.update(case["variables"], HOME=case["home"])
    try:
        # As MLflow asks for it: without a profile, none is passed.
        config = Config(profile=case["profile"]) if case["profile"] else Config()
        return {"host": config.host, "authorization": config.authenticate()["Authorization"]}
    except ValueError:
        return None


print(json.dumps([decided(case) for case in json.load(sys.stdin)]))
