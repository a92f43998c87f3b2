"""Stands for the package `flyte` in the Python processes of a run, and leaves when one imports it.

The process joins the run first, over a socket, so that its tasks get their secrets. Then the import goes on as without this
module. Other processes never run it.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable


def connect(address: str) -> socket.socket:
    """Connects to the run, whose socket belongs to the same user."""
    import socket
    import struct

    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect("\0" + address)
    _, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    if user != os.geteuid():
        raise OSError("its socket belongs to another user")
    return connection


def greet(connection: socket.socket) -> Any:
    """Sends the variables of this process, and returns the reply."""
    import json

    variables = {name.decode("latin-1"): value.decode("latin-1") for name, value in os.environb.items()}
    connection.sendall(json.dumps({"op": "join", "variables": variables}).encode() + b"\n")
    with connection.makefile("rb") as replies:
        line = replies.readline()
    if not line.endswith(b"\n"):
        raise OSError("flyte-local does not answer this process")
    reply = json.loads(line)
    if "invalid" in reply:
        raise OSError(reply["invalid"])
    return reply


def join(make: Callable[[Any], object], address: str) -> None:
    """Joins the run, and replaces this module by the package."""
    import importlib.util

    place = os.path.dirname(__file__)
    sys.path[:] = [entry for entry in sys.path if entry != place]
    sys.path_importer_cache.pop(place, None)
    own = sys.modules.pop(__name__)
    # The first interpreter of a run, and a worker of its tests, have joined without this.
    if "_flyte_local" not in sys.modules and importlib.util.find_spec(__name__) is not None:
        try:
            connection = connect(address)
            joined = greet(connection)
        except OSError as error:
            reason = "the run has ended" if isinstance(error, ConnectionRefusedError) else error
            print(f"flyte-local: tasks of process {os.getpid()} get no secrets: {reason}", file=sys.stderr)
        else:
            make(joined["modules"])
            sys.modules["_flyte_local.start"].start_child(connection.detach(), joined, place)
    try:
        importlib.import_module(__name__)
    except BaseException:
        sys.modules.setdefault(__name__, own)  # The import system removes it.
        raise
