"""Runs the threads that a task starts, and the calls that it hands to a pool, as the task."""

from __future__ import annotations

import concurrent.futures
import functools
import threading
from typing import TYPE_CHECKING, Any

from . import views

if TYPE_CHECKING:
    from collections.abc import Callable


def is_the_users(thread: threading.Thread) -> bool:
    """Returns whether a thread runs the user's code, and not a library's that all tasks share, as an event loop's."""
    from .imports import is_of_the_user  # That module imports this one.

    function: Any = getattr(type(thread), "run", None)
    if function in (threading.Thread.run, threading.Timer.run):
        function = getattr(thread, "_target", None) or getattr(thread, "function", None)
    while isinstance(function, functools.partial):
        function = function.func
    function = getattr(function, "__func__", function)
    # It starts processes in place of those that have ended, and calls nothing of a user's.
    if getattr(function, "__qualname__", "") == "Pool._handle_workers":
        return True
    code = getattr(function, "__code__", None)
    return code is not None and is_of_the_user(code.co_filename)


def install() -> None:
    """Runs threads, and calls that a task hands to a pool, as the task."""
    submit: Callable[..., Any] = concurrent.futures.ThreadPoolExecutor.submit
    start: Callable[[threading.Thread], None] = threading.Thread.start

    @functools.wraps(submit)
    def submit_as_task(pool: object, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        view = views.current.get()
        if view is None:
            return submit(pool, function, *args, **kwargs)
        return submit(pool, view.run, function, *args, **kwargs)

    @functools.wraps(start)
    def start_as_task(thread: threading.Thread) -> None:
        view = views.current.get()
        if view is not None and view.owns(thread, is_the_users(thread)):
            setattr(thread, "run", functools.partial(view.run, thread.run))
        start(thread)

    setattr(concurrent.futures.ThreadPoolExecutor, "submit", submit_as_task)
    setattr(threading.Thread, "start", start_as_task)
