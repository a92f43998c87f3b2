"""Becomes Flyte's own command, as the script `flyte` beside this interpreter is, without anything of flyte-local's."""

import sys

if not getattr(sys.flags, "safe_path", False):
    del sys.path[0]  # The working directory, which `-c` brought.
sys.argv[0] = "flyte"
try:
    from flyte.cli.main import main
except ModuleNotFoundError as error:
    if error.name not in ("flyte", "flyte.cli"):
        raise
    message = f"error: {sys.executable} has no flyte package\nhint: install it: {sys.executable} -m pip install flyte"
    sys.exit(message)
main(prog_name="flyte")
