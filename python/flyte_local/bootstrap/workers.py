"""Parallel workers of pytest: fresh interpreters, which pytest-xdist has execnet start.

Before its own code, each worker gets one end of a socket and what the loader gives the first interpreter: these modules,
and then the hooks. A thread at the other end passes its requests on to flyte-local.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import socket
import sys
import threading
from typing import TYPE_CHECKING, Any

from . import inheritance, views

if TYPE_CHECKING:
    from collections.abc import Sequence

    from . import messages
    from .broker import Broker

# A worker runs this after `load.py`, and before execnet's own line.
BEGIN = """
path = list(sys.path)
start = load(DESCRIPTOR, '{"op":"worker"}')
sys.modules["_flyte_local.inheritance"].inherit(start["variables"])
sys.modules["_flyte_local.start"].start_worker(DESCRIPTOR, start)
sys.path[:] = path
"""


class Starter:
    """Stands in for execnet's model of execution while it starts a worker, to start it with one more descriptor."""

    def __init__(self, model: Any, descriptor: int) -> None:
        self._model = model
        self._descriptor = descriptor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    @property
    def subprocess(self) -> Starter:
        return self

    @property
    def PIPE(self) -> Any:
        return self._model.subprocess.PIPE

    def Popen(self, arguments: Sequence[str], **options: Any) -> Any:
        environment = dict(views.variables_of_process())
        for name in views.given.keys() - views.outside:
            # The worker declares for itself which secrets it has.
            environment.pop(name, None)
            if name in views.SHELL:
                environment[name] = views.SHELL[name]
        return self._model.subprocess.Popen(arguments, pass_fds=(self._descriptor,), env=environment, **options)

    def PopenPiped(self, arguments: Sequence[str]) -> Any:
        """Stands in for the method that execnet calls before version 2.1."""
        return self.Popen(arguments, stdin=self.PIPE, stdout=self.PIPE)


def serve(broker: Broker, start: messages.WorkerStart, end: socket.socket) -> None:
    """Answers one worker until it is gone."""
    with end, end.makefile("rb") as requests:
        for request in requests:
            is_first = request == b'{"op":"worker"}\n'
            try:
                end.sendall(json.dumps(start).encode() + b"\n" if is_first else broker.relay(request))
            except OSError:
                return


def hook_workers(broker: Broker, start: messages.Start) -> None:
    if importlib.util.find_spec("xdist") is None:
        return
    try:
        from execnet import gateway_io

        line = gateway_io.popen_bootstrapline
        begin = gateway_io.Popen2IOMaster.__init__
    except (ImportError, AttributeError):
        line = "this version of execnet is not known: workers of pytest-xdist get no secrets"
        print(f"flyte-local: {line}", file=sys.stderr)
        return

    @functools.wraps(begin)
    def begin_with_secrets(io: Any, args: Sequence[str], execmodel: Any) -> None:
        if list(args[-2:]) != ["-c", line] or broker.is_forked():  # Not a Python of this machine.
            begin(io, args, execmodel)
            return
        ours, theirs = socket.socketpair()
        worker: messages.WorkerStart = {
            "modules": start["modules"],
            "settings": start["settings"],
            "parent": os.getpid(),
            "variables": inheritance.bequest(),
        }
        with theirs:
            loader = f"{start['load']}\nDESCRIPTOR = {theirs.fileno()}{BEGIN}"
            begin(io, [*args[:-1], f"exec({loader!r}, {{}})\n{line}"], Starter(execmodel, theirs.fileno()))
        io.execmodel = execmodel
        served = (broker, worker, ours)
        threading.Thread(target=serve, args=served, name="flyte-local worker", daemon=True).start()

    gateway_io.Popen2IOMaster.__init__ = begin_with_secrets
