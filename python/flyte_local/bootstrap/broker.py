"""The bootstrap's end of the inherited socket: one JSON object a line each way."""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import sys
import threading
from typing import TYPE_CHECKING, NoReturn, overload

if TYPE_CHECKING:
    from . import messages


class Broker:
    """The inherited socket.

    One thread alone talks to it, one request after the other. So a signal handler that raises while a request is under way
    (Ctrl-C, a test's time limit) cannot leave its reply behind for the next request to take. The thread starts before any
    code of the user's, and shares only queues that cannot be interrupted halfway, which rules out `concurrent.futures`.
    """

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)
        self._socket = socket.socket(fileno=descriptor)
        self._requests: queue.SimpleQueue[tuple[bytes, queue.SimpleQueue[bytes]]] = queue.SimpleQueue()
        self._process = os.getpid()
        threading.Thread(target=self._serve, name="flyte-local", daemon=True).start()

    def is_forked(self) -> bool:
        """Returns whether this process was forked from the one that has the socket."""
        return os.getpid() != self._process

    @overload
    def ask(self, request: messages.Secrets) -> messages.Provided | messages.Refused: ...

    @overload
    def ask(self, request: messages.Scope) -> messages.Done | messages.Refused: ...

    @overload
    def ask(self, request: messages.Forms) -> messages.FormsOfValue: ...

    @overload
    def ask(self, request: messages.Container) -> messages.Lent | messages.Refused: ...

    @overload
    def ask(self, request: messages.Build) -> messages.BuildSecrets | messages.Refused: ...

    @overload
    def ask(
        self, request: messages.Survey | messages.LacksSdk | messages.Keeps | messages.GiveBack | messages.Fail
    ) -> messages.Done: ...

    def ask(self, request: messages.Request) -> messages.Reply:
        """Sends a request and returns its reply."""
        self.refuse_if_forked()
        try:
            text = json.dumps(request)
        except (TypeError, ValueError) as error:
            raise RuntimeError(f"flyte-local cannot be asked for this: {error}") from error
        line = self.relay(text.encode() + b"\n")
        if not line.endswith(b"\n"):
            raise RuntimeError("flyte-local has gone away")
        reply: messages.Reply = json.loads(line)
        if "invalid" in reply:
            raise RuntimeError(f"flyte-local does not understand {request['op']!r}: {reply['invalid']}")
        return reply

    def refuse_if_forked(self) -> None:
        if self.is_forked():
            raise RuntimeError("flyte-local gives secrets to the process it started, not to one forked from it")

    def relay(self, request: bytes) -> bytes:
        """Returns the reply to a request, each a line; an empty one if flyte-local has gone away."""
        answer: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._requests.put((request, answer))
        return answer.get()

    def _serve(self) -> None:
        replies = self._socket.makefile("rb")
        while True:
            request, answer = self._requests.get()
            try:
                self._socket.sendall(request)
                reply = replies.readline()
            except OSError:
                reply = b""
            answer.put(reply)

    def fail(self, message: str, *hints: str, code: int = 1) -> NoReturn:
        """Has flyte-local report why the run cannot go on, and ends it. For the main thread."""
        self.ask({"op": "fail", "message": message, "hints": list(hints), "code": code})
        sys.exit(code)


def die_with(parent: int) -> None:
    """Ends this process when flyte-local dies, however it dies, so that nothing of a run outlives it."""
    if not sys.platform.startswith("linux"):
        return
    try:
        import ctypes
    except ImportError:  # Python was built without libffi.
        return
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, int(signal.SIGKILL))
    if os.getppid() != parent:  # It died before the line above.
        os._exit(1)
