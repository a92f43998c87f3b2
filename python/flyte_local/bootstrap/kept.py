"""Finds secrets in what Flyte keeps besides the outputs of tasks: their inputs, and what traced functions are given and return.

Inputs are searched before the SDK gets them, because it stores them first, or sends them to a control plane.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from typing import TYPE_CHECKING, Any

from . import views
from .leaks import TASK_IS_GIVEN, TRACE_IS_GIVEN, TRACE_RETURNS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .leaks import LeakGuard
    from .sdk import Sdk, Task

    Function = Callable[..., Any]


class Kept:
    """Has the leak guard search inputs and traces, for every secret of the run so far: a caller passes on its own."""

    def __init__(self, leaks: LeakGuard, flyte: Sdk) -> None:
        self._leaks = leaks
        self._flyte = flyte

    def hook(self) -> None:
        self._hook_runs()
        self._hook_calls()
        trace = self._flyte.trace

        @functools.wraps(trace)
        def trace_and_search(function: Function) -> Function:
            return self._around(function, trace(self._within(function)))

        self._flyte.trace = trace_and_search

    def _hook_runs(self) -> None:
        """Searches the inputs of the task that a script or the SDK's own command runs."""
        runner = vars(type(self._flyte.with_runcontext("local")))["run"]
        run = runner.fn

        @functools.wraps(run)
        async def search_and_run(self_: Any, task: Any, *args: Any, **kwargs: Any) -> Any:
            if isinstance(task, self._flyte.extend.TaskTemplate):
                self._search_inputs(task, args, kwargs)
            return await run(self_, task, *args, **kwargs)

        runner.fn = search_and_run

    def _hook_calls(self) -> None:
        """Searches the inputs of tasks that a task calls. Outside a run, as in a unit test, nothing is kept."""
        template = self._flyte.extend.TaskTemplate
        call, aio = template.__call__, template.aio

        @functools.wraps(call)
        def search_and_call(task: Any, *args: Any, **kwargs: Any) -> Any:
            if self._flyte.ctx():
                self._search_inputs(task, args, kwargs)
            return call(task, *args, **kwargs)

        @functools.wraps(aio)
        async def search_and_await(task: Any, *args: Any, **kwargs: Any) -> Any:
            if self._flyte.ctx():
                self._search_inputs(task, args, kwargs)
            return await aio(task, *args, **kwargs)

        template.__call__, template.aio = search_and_call, search_and_await

    def _search_inputs(self, task: Task, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        declared = task.native_interface.inputs
        # The SDK stores a default as if it were given.
        defaults = {name: default for name, (_, default) in declared.items() if default is not inspect.Parameter.empty}
        given = {**defaults, **dict(zip(declared, args)), **kwargs}
        self._leaks.search_all(f"task {task.name}", TASK_IS_GIVEN, given)

    def _search_arguments(self, function: Function, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        if not self._flyte.ctx():
            return
        try:
            given = inspect.signature(function).bind(*args, **kwargs)
        except (TypeError, ValueError):
            return  # The call raises the same.
        given.apply_defaults()
        self._leaks.search_all(trace_of(function), TRACE_IS_GIVEN, given.arguments)

    def _search_result(self, function: Function, result: object) -> None:
        if self._flyte.ctx():
            self._leaks.search_all(trace_of(function), TRACE_RETURNS, {"o0": result})

    def _within(self, function: Function) -> Function:
        """Returns a function of the same kind, whose results are searched before the SDK has them."""

        async def coroutine(*args: Any, **kwargs: Any) -> Any:
            result = await function(*args, **kwargs)
            self._search_result(function, result)
            return result

        async def async_generator(*args: Any, **kwargs: Any) -> Any:
            async with contextlib.aclosing(function(*args, **kwargs)) as items:
                async for item in items:
                    self._search_result(function, item)
                    yield item

        def generator(*args: Any, **kwargs: Any) -> Any:
            for item in function(*args, **kwargs):
                self._search_result(function, item)
                yield item

        def plain(*args: Any, **kwargs: Any) -> Any:
            result = function(*args, **kwargs)
            self._search_result(function, result)
            return result

        return same_kind(function, coroutine, async_generator, generator, plain)

    def _around(self, function: Function, traced: Function) -> Function:
        """Returns a function of the same kind, whose arguments are searched before the SDK has them."""

        async def coroutine(*args: Any, **kwargs: Any) -> Any:
            self._search_arguments(function, args, kwargs)
            return await traced(*args, **kwargs)

        async def async_generator(*args: Any, **kwargs: Any) -> Any:
            self._search_arguments(function, args, kwargs)
            async with contextlib.aclosing(traced(*args, **kwargs)) as items:
                async for item in items:
                    yield item

        def generator(*args: Any, **kwargs: Any) -> Any:
            self._search_arguments(function, args, kwargs)
            yield from traced(*args, **kwargs)

        def plain(*args: Any, **kwargs: Any) -> Any:
            self._search_arguments(function, args, kwargs)
            return traced(*args, **kwargs)

        return same_kind(function, coroutine, async_generator, generator, plain)


def trace_of(function: Function) -> str:
    """Names a traced function, and what calls it, in words."""
    view = views.current.get()
    name = getattr(function, "__name__", "?")
    return f"the traced function {name} of {view.who}" if view else f"the traced function {name}"


def same_kind(
    function: Function, coroutine: Function, async_generator: Function, generator: Function, plain: Function
) -> Function:
    """Returns the one that the SDK, and the user's code, see as the same kind of function as `function`."""
    if inspect.iscoroutinefunction(function):
        chosen = coroutine
    elif inspect.isasyncgenfunction(function):
        chosen = async_generator
    else:
        chosen = generator if inspect.isgeneratorfunction(function) else plain
    return functools.wraps(function)(chosen)
