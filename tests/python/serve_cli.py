"""Runs many of Flyte's own commands in one process, as each start takes a second.

Each line of standard input is a JSON list of arguments. For each, prints a line of JSON: the exit code and the output, without
colours, frames, and the space between columns.
"""

import contextlib
import io
import json
import os
import re
import sys

from flyte.cli.main import main


def leave(code):
    """Stands in for `os._exit`, by which some commands of the SDK end the process so that threads of gRPC do not keep it."""
    raise SystemExit(code)


exit_now, os._exit = os._exit, leave


def words(printed):
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|[─-╿]", " ", printed)
    return [" ".join(line.split()) for line in plain.splitlines() if line.strip()]


for line in sys.stdin:
    printed, code = io.StringIO(), 0
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            main(json.loads(line), prog_name="flyte")
        except SystemExit as end:
            code = end.code or 0
    print(json.dumps({"code": code, "said": words(printed.getvalue())}), flush=True)

# The newest SDK's HTTP library now and then aborts while Python ends.
exit_now(0)
