"""Runs Flyte's command, or a script, and ends without Python's finalization.

Before Python 3.14, a thread of the SDK's HTTP client may abort the whole process there, after all is done.
"""

import os
import runpy
import sys
import traceback


def run(what, arguments):
    sys.argv = arguments
    if what == "flyte":
        from flyte.cli.main import main

        main(prog_name="flyte")
    else:
        sys.path.insert(0, os.path.dirname(os.path.abspath(arguments[0])))
        runpy.run_path(arguments[0], run_name="__main__")


code = 0
try:
    run(sys.argv[1], sys.argv[1:] if sys.argv[1] == "flyte" else sys.argv[2:])
except SystemExit as end:
    code = end.code or 0
except BaseException:
    traceback.print_exc()
    code = 1
sys.stdout.flush()
sys.stderr.flush()
os._exit(code)
