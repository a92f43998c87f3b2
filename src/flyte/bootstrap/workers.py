"""Parallel workers of pytest: fresh interpreters, which pytest-xdist has execnet start.

Each gets one end of a socket and, before its own code, what the loader gives the first interpreter: these modules, and
then the hooks. A thread at the other end passes its requests on to flyte-local.
"""

import functools
import importlib.util
import json
import os
import socket
import sys
import threading

import _flyte_local
from _flyte_local import views

# What a worker runs after `load.py`, and before execnet's own line.
BEGIN = """
path = list(sys.path)
start = load(DESCRIPTOR, '{"op":"worker"}')
sys.modules["_flyte_local.views"].inherit(**start["variables"])
sys.modules["_flyte_local.start"].start_worker(DESCRIPTOR, start["settings"], start["parent"])
sys.path[:] = path
"""


class Starter:
    """Stands in for execnet's model of execution while it starts a worker, to start it with one more descriptor."""

    def __init__(self, model, descriptor):
        self._model = model
        self._descriptor = descriptor

    def __getattr__(self, name):
        return getattr(self._model, name)

    @property
    def subprocess(self):
        return self

    @property
    def PIPE(self):
        return self._model.subprocess.PIPE

    def Popen(self, arguments, **options):
        environment = dict(os.environ._data)
        for name in views.given.keys() - views.outside:
            # It declares for itself what it has.
            environment.pop(name, None)
            if name in views.SHELL:
                environment[name] = views.SHELL[name]
        return self._model.subprocess.Popen(arguments, pass_fds=(self._descriptor,), env=environment, **options)

    def PopenPiped(self, arguments):
        """Before execnet 2.1, this is what it calls."""
        return self.Popen(arguments, stdin=self.PIPE, stdout=self.PIPE)


def serve(broker, settings, variables, end):
    """Answers one worker until it is gone."""
    with end, end.makefile("rb") as requests:
        for request in requests:
            if request == b'{"op":"worker"}\n':
                start = {"load": _flyte_local.load, "modules": _flyte_local.modules, "settings": settings}
                reply = json.dumps({**start, "parent": os.getpid(), "variables": variables}).encode() + b"\n"
            else:
                reply = broker.relay(request)
            try:
                end.sendall(reply)
            except OSError:
                return


def hook_workers(broker, settings):
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
    def begin_with_secrets(io, args, execmodel):
        if list(args[-2:]) != ["-c", line] or broker.is_forked():  # Not a Python of this machine.
            return begin(io, args, execmodel)
        ours, theirs = socket.socketpair()
        variables = views.bequest()
        with theirs:
            loader = f"{_flyte_local.load}\nDESCRIPTOR = {theirs.fileno()}{BEGIN}"
            begin(io, [*args[:-1], f"exec({loader!r}, {{}})\n{line}"], Starter(execmodel, theirs.fileno()))
        io.execmodel = execmodel
        served = (broker, settings, variables, ours)
        threading.Thread(target=serve, args=served, name="flyte-local worker", daemon=True).start()

    gateway_io.Popen2IOMaster.__init__ = begin_with_secrets
