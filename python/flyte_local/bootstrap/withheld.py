"""What a run keeps from the cluster, said where the SDK would only say that it has no client.

A run takes the endpoint away before the SDK is initialised (`local.py`), so that nothing reaches for a network. Code that calls
the control plane all the same fails, and its error says which call, why, and how to go on.
"""

from __future__ import annotations

import functools
import shlex
import sys
from typing import TYPE_CHECKING, Any

from .errors import OWN, own_messages

if TYPE_CHECKING:
    import types

    from . import messages
    from .sdk import Sdk

# The module of the SDK that makes a client, and raises where there is none.
INITIALIZE = "flyte._initialize"

# The SDK's code for an error without a client or without any initialisation.
NOT_INITIALIZED = "ClientNotInitializedError"


class Withheld:
    """The cluster that a run keeps its code from."""

    def __init__(self, flyte: Sdk, settings: messages.Settings, job: messages.Job | None) -> None:
        self._flyte = flyte
        self._command = settings["command"]
        self._job = job
        # The endpoint that was taken away, in words.
        self._cluster: str | None = None
        self._said: set[str] = set()

    def take(self, endpoint: object, api_key: object) -> None:
        """Notes what was taken from the arguments of an initialisation."""
        if endpoint or api_key:
            self._cluster = f"the cluster {endpoint}" if endpoint else "the cluster of your API key"

    def note_tracking(self, what: str) -> None:
        """Says once that the run is not reported to a control plane, although the code or the configuration asks for it."""
        if what not in self._said:
            self._said.add(what)
            print(f"flyte-local: {what} is passed over: a run stays on this machine", file=sys.stderr)
            if file := self._file():
                line = f"{self._command} flyte run --tracked {file} TASK"
                print(f"hint: Flyte's own command reports a run to its control plane: {line}", file=sys.stderr)

    def hook(self) -> None:
        """Has the SDK's error for a missing client say what it means in a run."""
        kind: Any = self._flyte.errors.InitializationError
        make = kind.__init__

        @functools.wraps(make)
        def init(error: Any, code: str, *args: Any, **kwargs: Any) -> None:
            frame = sys._getframe(1)
            make(error, code, *args, **kwargs)
            if self._cluster and code == NOT_INITIALIZED and frame.f_globals.get("__name__") == INITIALIZE:
                self._explain(error, called(frame))

        kind.__init__ = init
        deploy: Any = self._flyte.deploy.fn

        @functools.wraps(deploy)
        async def deploy_nothing(*args: Any, **kwargs: Any) -> Any:
            if self._cluster and not kwargs.get("dryrun"):
                # Now, and not after images were built and pushed.
                error = kind(NOT_INITIALIZED, "user", "")
                self._explain(error, "flyte.deploy")
                raise error
            return await deploy(*args, **kwargs)

        self._flyte.deploy.fn = deploy_nothing

    def _explain(self, error: Any, call: str | None) -> None:
        error.args = (self._message(call),)
        own_messages.add(error.args[0])

    def _message(self, call: str | None) -> str:
        subject = f"{call} was kept from" if call else "a call was kept from"
        hints = "".join(f"\nhint: {hint}" for hint in self._hints(call))
        return f"{subject} {self._cluster}: flyte-local run keeps everything on this machine{hints}"

    def _hints(self, call: str | None) -> list[str]:
        file, hints = self._file(), []
        if call in ("flyte.deploy", "flyte.build_images"):
            hints.append(f"use Flyte's own command: {self._command} flyte deploy --all {file or 'FILE'}")
        elif call == "flyte.serve":
            hints.append(f"use Flyte's own command: {self._command} flyte serve {file or 'FILE'} APP")
        job = self._job
        if job and job["mode"] == "module":
            words = ["-m", job["module"], *job["arguments"]]
            hints.append(self._by_exec(" ".join(map(shlex.quote, words))))
        elif file:
            hints.append(f"to run a task here that may call the cluster: {self._command} flyte run --local {file} TASK")
            hints.append(self._by_exec(file))
        return hints

    def _by_exec(self, rest: str) -> str:
        python = shlex.quote(sys.executable)
        return f"to run the code as it is, with secrets as variables: {self._command} exec --all -- {python} {rest}"

    def _file(self) -> str | None:
        return shlex.quote(self._job["file"]) if self._job and self._job["mode"] in ("file", "survey") else None


def called(frame: types.FrameType | None) -> str | None:
    """Returns the public name of the SDK's function that the user's code called, as far as the frames show it."""
    found = None
    while frame is not None:
        module = str(frame.f_globals.get("__name__"))
        if not module.startswith("flyte.") and frame.f_code.co_filename != OWN:
            break
        found = public_name(module, frame) or found
        frame = frame.f_back
    return found


def public_name(module: str, frame: types.FrameType) -> str | None:
    """Returns the name by which users know a function of the SDK, if they can."""
    if module == INITIALIZE or module.startswith("flyte.syncify"):
        return None
    parts = module.split(".")
    package = ".".join(part for part in parts if not part.startswith("_"))
    name = getattr(frame.f_code, "co_qualname", None) or old_qualname(frame)
    # A module is often named for its function: `deploy` of `flyte._deploy`.
    for candidate in (f"{package}.{name}", f"{package}.{parts[-1].lstrip('_')}"):
        if is_public(candidate):
            return candidate
    return None


def old_qualname(frame: types.FrameType) -> str:
    """Returns the name of a function with its class, for Python 3.10."""
    owner = frame.f_locals.get("cls", type(frame.f_locals.get("self")))
    name = frame.f_code.co_name
    return f"{owner.__name__}.{name}" if isinstance(owner, type) and hasattr(owner, name) else name


def is_public(name: str) -> bool:
    """Returns whether users can reach a function by this name."""
    parts = name.split(".")
    if any(part.startswith(("_", "<")) for part in parts):
        return False
    for end in range(len(parts) - 1, 0, -1):
        if value := sys.modules.get(".".join(parts[:end])):
            for part in parts[end:]:
                value = getattr(value, part, None)
            return callable(value)
    return False
