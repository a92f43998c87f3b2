"""Errors of secrets, and how errors are shown: those of secrets without a traceback, others without flyte-local's frames.

Code and the SDK's frames say nothing about a missing secret: its message says what is missing, where it was looked for, and
what to type. With the SDK's logger at DEBUG, all frames are shown.
"""

from __future__ import annotations

import functools
import logging
import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from .sdk import Sdk

UNAVAILABLE = "SecretUnavailable"
RETURNED = "SecretReturned"

# Other messages that flyte-local wrote: the SDK may put them into new errors.
own_messages: set[str] = set()

# The file that our frames name.
OWN = "<flyte-local>"


def secret_error(flyte: Sdk, message: str, code: str = UNAVAILABLE) -> Exception:
    """Makes an error that is not worth a retry, where the SDK has one: trying again does not bring the secret."""
    kind = getattr(flyte.errors, "NonRecoverableError", None)
    error: Exception = kind(message, code) if kind else flyte.errors.RuntimeUserError(code, message)
    return error


def is_secret_error(flyte: Sdk, error: BaseException | None) -> bool:
    """Returns whether `secret_error` made an error, or the SDK another of the same code, as it does for a task's caller."""
    if str(error).rstrip() in own_messages:
        return True
    return isinstance(error, flyte.errors.RuntimeUserError) and getattr(error, "code", None) in (UNAVAILABLE, RETURNED)


def shows_all() -> bool:
    """Returns whether the SDK's log is at DEBUG, where the SDK filters no traceback either."""
    return logging.getLogger("flyte").getEffectiveLevel() <= logging.DEBUG


def without_own_frames(traceback: types.TracebackType | None) -> types.TracebackType | None:
    """Returns the traceback without our frames; as it is, if there are no others."""
    rest, others = traceback, []
    while rest is not None:
        if rest.tb_frame.f_code.co_filename != OWN:
            others.append(rest)
        rest = rest.tb_next
    trimmed = None
    for part in reversed(others):
        trimmed = types.TracebackType(trimmed, part.tb_frame, part.tb_lasti, part.tb_lineno)
    return trimmed or traceback


def hook_log(flyte: Sdk) -> None:
    """Keeps our frames out of the SDK's log, and errors of secrets too: they are shown where the run ends, or are handled."""

    def show(record: logging.LogRecord) -> bool:
        if not record.exc_info or shows_all():
            return True
        kind, error, traceback = record.exc_info
        if is_secret_error(flyte, error):
            return False
        if kind is not None and error is not None:
            record.exc_info = (kind, error, without_own_frames(traceback))
        return True

    logging.getLogger("flyte").addFilter(show)


def show_secret_error(flyte: Sdk, error: BaseException) -> bool:
    """Shows an error of a secret as flyte-local shows its own, and returns whether it was one."""
    if not is_secret_error(flyte, error) or shows_all():
        return False
    sys.stdout.flush()
    print(f"error: {str(error).rstrip()}", file=sys.stderr)
    return True


class Shown:
    """Stands for the `run` of the SDK's runner, or its `serve`, and ends the SDK's own command at an error of a secret.

    The command would show it in a frame, from which no command can be copied once its lines are wrapped.
    """

    def __init__(self, flyte: Sdk, call: Any) -> None:
        self._flyte = flyte
        self._call = call

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return self._call(*args, **kwargs)
        except Exception as error:
            if show_secret_error(self._flyte, error):
                sys.exit(1)
            raise

    async def aio(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return await self._call.aio(*args, **kwargs)
        except Exception as error:
            if show_secret_error(self._flyte, error):
                sys.exit(1)
            raise


def hook_command(flyte: Sdk) -> None:
    """Has the SDK's own command, and no other code, show errors of secrets as a script does."""
    for context, method in (("with_runcontext", "run"), ("with_servecontext", "serve")):
        setattr(flyte, context, with_shown_errors(flyte, getattr(flyte, context), method))


def with_shown_errors(flyte: Sdk, context: Callable[..., Any], method: str) -> Callable[..., Any]:
    @functools.wraps(context)
    def from_context(*args: Any, **kwargs: Any) -> Any:
        made = context(*args, **kwargs)
        if str(sys._getframe(1).f_globals.get("__name__")).startswith("flyte.cli."):
            setattr(made, method, Shown(flyte, getattr(made, method)))
        return made

    return from_context


def hook_excepthook(flyte: Sdk) -> None:
    """Keeps our frames out of the error that ends the run, and all frames out of an error of a secret."""
    hook = sys.excepthook

    def excepthook(kind: type[BaseException], error: BaseException, traceback: types.TracebackType | None) -> None:
        if show_secret_error(flyte, error):
            return
        while traceback and traceback.tb_frame.f_code.co_filename in ("<string>", OWN):
            traceback = traceback.tb_next
        traceback = without_own_frames(traceback)
        hook(kind, error.with_traceback(traceback), traceback)

    sys.excepthook = excepthook
