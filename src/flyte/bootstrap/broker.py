"""The bootstrap's end of the inherited socket: one JSON object a line each way."""

import json
import os
import queue
import signal
import socket
import sys
import threading


class Broker:
    """The inherited socket.

    A thread of its own talks to it, one request after the other. So a signal handler that raises while a request is
    under way (Ctrl-C, a test's time limit) cannot leave its reply behind for the next request to take. It starts before
    any code of the user's, and shares nothing but queues that cannot be interrupted halfway, which rules out
    `concurrent.futures`.
    """

    def __init__(self, descriptor):
        os.set_inheritable(descriptor, False)
        self._socket = socket.socket(fileno=descriptor)
        self._requests = queue.SimpleQueue()
        self._process = os.getpid()
        threading.Thread(target=self._serve, name="flyte-local", daemon=True).start()

    def is_forked(self):
        """Whether this is a process forked from the one that has the socket."""
        return os.getpid() != self._process

    def ask(self, op, **fields):
        if self.is_forked():
            raise RuntimeError("flyte-local gives secrets to the process it started, not to one forked from it")
        reply = self.relay(json.dumps({"op": op, **fields}).encode() + b"\n")
        if not reply.endswith(b"\n"):
            raise RuntimeError("flyte-local has gone away")
        return json.loads(reply)

    def relay(self, request):
        """The reply to a request, each a line; an empty one if flyte-local has gone away."""
        answer = queue.SimpleQueue()
        self._requests.put((request, answer))
        return answer.get()

    def _serve(self):
        replies = self._socket.makefile("rb")
        while True:
            request, answer = self._requests.get()
            try:
                self._socket.sendall(request)
                reply = replies.readline()
            except OSError:
                reply = b""
            answer.put(reply)

    def fail(self, message, *hints, code=1):
        """Has flyte-local report why the run cannot go on, and ends it. For the main thread."""
        self.ask("fail", message=message, hints=hints, code=code)
        sys.exit(code)


def die_with(parent):
    """Ends this process when flyte-local dies, however it dies, so that nothing of a run outlives it."""
    if not sys.platform.startswith("linux"):
        return
    try:
        import ctypes
    except ImportError:  # A Python built without libffi.
        return
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, int(signal.SIGKILL))
    if os.getppid() != parent:  # It died before the line above.
        os._exit(1)
