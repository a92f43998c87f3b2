"""Puts declared secrets where the declaration says, when an environment is declared and when a task executes."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, cast

from . import connectors, processes, threads, views
from .containers import Containers
from .env_vars import plain_variables
from .errors import RETURNED, secret_error
from .kept import Kept
from .leaks import LeakGuard, own_values
from .subclasses import visit_subclasses

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping

    from . import messages
    from .broker import Broker
    from .sdk import Environment, Sdk, Secret, SecretRequest, Task

    # The key and the value of each secret.
    Values = Iterable[tuple[str, bytes]]


def as_secrets(flyte: Sdk, request: SecretRequest) -> list[Secret]:
    """Returns the secrets that `request`, the `secrets=` of an environment or a task, declares."""
    if not request:
        return []
    several = [request] if isinstance(request, (str, flyte.Secret)) else request
    return [flyte.Secret(key=s) if isinstance(s, str) else s for s in cast("Iterable[str | Secret]", several)]


def described(secret: Secret) -> messages.Declared:
    """Returns a declared secret as the broker takes it."""
    return {
        "key": secret.key,
        "group": usable_group(secret.group),
        "variable": secret.as_env_var,
        "parameter": getattr(secret, "parameter", None),
        "image": getattr(secret, "image", None),
        "shell": bool(secret.as_env_var and views.encoded(secret.as_env_var) in views.SHELL),
    }


def usable_group(group: object) -> str | None:
    """Returns a group that can be sent to the broker; None for another one, which the SDK accepts in any type and length.

    A group takes no part in the search for a secret, so one that cannot be a directory's name is ignored.
    """
    return group if isinstance(group, str) and len(group) <= 255 and group.isprintable() else None


# The secrets that the files that were read declare, though their code may never get there.
scanned: list[Secret] = []


def no_secrets() -> messages.Provided:
    return {"variables": {}, "shell": [], "missing": [], "why_missing": [], "notes": []}


class Secrets:
    """Puts declared secrets where the declaration says."""

    def __init__(self, broker: Broker, flyte: Sdk, settings: messages.Settings) -> None:
        self._broker = broker
        self._flyte = flyte
        self._leaks = LeakGuard(settings["leaks"], broker, flyte, lambda message: secret_error(flyte, message, RETURNED))
        self._leaks.note_places()
        Kept(self._leaks, flyte).hook()
        self._containers = Containers(broker, flyte)
        # The broker's replies, by declaration: a forked process cannot ask it.
        self._given: dict[tuple[str, str | None, str | None], messages.Provided] = {}
        views.install(share=settings["shared_secrets"], leave_out=settings["left_out"])
        processes.install()
        threads.install()

    def provide(
        self, request: SecretRequest, *, needed_by: str | None = None, holder: str | None = None
    ) -> tuple[Mapping[bytes, bytes], Values]:
        """Asks for the secrets that `request`, the `secrets=` of an environment or a task, declares.

        Returns the variables it has now, and the key and value of each secret. `needed_by` says in words what is about to use
        them (`task main`): a secret that cannot be had raises then. Without it, such a secret is passed over until something
        needs it. `holder` says in words who declares them; None stands for code that has only been read, which holds the
        secrets that exist.
        """
        if not request:
            return {}, ()
        declared = as_secrets(self._flyte, request)
        if holder is not None:
            self._manage(declared, holder)
        # A value that the user's code put there instead stays, as it does where a module sets it on a cluster.
        wanted = [s for s in declared if not (s.as_env_var and views.encoded(s.as_env_var) in views.outside)]
        reply = self._ask(wanted, needed_by)
        if "error" in reply:
            raise secret_error(self._flyte, reply["error"])
        for note in reply["notes"]:
            views.say_once(note, about=note)
        variables = reply["variables"]
        if holder is None:
            self._manage([s for s in wanted if s.as_env_var in variables], None)
        for marker in variables:
            if marker.startswith(views.MARKERS):
                views.manage(marker, None, None)
        self._report_shell(wanted, reply, needed_by)
        for index, why in zip(reply["missing"], reply["why_missing"]):
            if variable := wanted[index].as_env_var:
                views.lacking[views.encoded(variable)] = why
        own = {views.encoded(name): views.environ.encodevalue(value) for name, value in variables.items()}
        parameters = {views.encoded(s.as_env_var) for s in wanted if isinstance(s, connectors.Parameter)}
        # A connector's secret is in no pod, so it reaches no other process.
        views.place(own if views.shared else {name: value for name, value in own.items() if name not in parameters})
        own.update((name, views.SHELL[name]) for name in map(views.encoded, reply["shell"]))
        known = {views.environ.decodekey(name): views.environ.decodevalue(value) for name, value in own.items()}
        if not self._broker.is_forked():
            self._leaks.learn(own_values(wanted, known))
        return own, own_values(wanted, known)

    def _manage(self, declared: Iterable[Secret], holder: str | None) -> None:
        for secret in declared:
            if secret.as_env_var:
                views.manage(secret.as_env_var, (secret.key, secret.group), holder)

    def _ask(self, declared: list[Secret], needed_by: str | None) -> messages.Provided | messages.Refused:
        if not declared:
            return no_secrets()
        if self._broker.is_forked():
            return self._remembered(declared, needed_by)
        secrets = [described(secret) for secret in declared]
        reply = self._broker.ask({"op": "secrets", "needed_by": needed_by, "secrets": secrets})
        if "error" not in reply:
            for index, secret in enumerate(declared):
                if index not in reply["missing"]:
                    self._given[secret.key, secret.group, secret.as_env_var] = reply
        return reply

    def _remembered(self, declared: list[Secret], needed_by: str | None) -> messages.Provided:
        """Returns what the parent of this process was given, before the fork."""
        known = no_secrets()
        for secret in declared:
            reply = self._given.get((secret.key, secret.group, secret.as_env_var))
            if reply is None:
                if needed_by is not None:
                    self._broker.refuse_if_forked()
                continue
            names = {n for n in reply["variables"] if n == secret.as_env_var or n.startswith(views.MARKERS)}
            known["variables"].update((name, reply["variables"][name]) for name in names)
            known["shell"] += [name for name in reply["shell"] if name == secret.as_env_var]
        return known

    def _report_shell(self, declared: list[Secret], reply: messages.Provided, needed_by: str | None) -> None:
        """Reports variables of the shell that are kept for want of a secret, or replaced by one."""
        for secret in declared:
            name = secret.as_env_var
            before = views.SHELL.get(views.encoded(name)) if name else None
            if name is None or before is None:
                continue
            if name in reply["shell"]:
                if needed_by is not None:
                    line = f"secret {secret.key} does not exist in this run's scopes: {name} is what the shell has there"
                    views.say_once(line, about=("shell", name))
            elif name in reply["variables"] and before != views.environ.encodevalue(reply["variables"][name]):
                views.say_once(f"{name} of the shell is replaced by secret {secret.key}", about=("shell", name))

    def hook_environments(self) -> None:
        declare = self._flyte.Environment.__post_init__

        @functools.wraps(declare)
        def declared(environment: Environment) -> None:
            declare(environment)
            self.provide(environment.secrets, holder=f"environment {environment.name}")

        self._flyte.Environment.__post_init__ = declared

    def hook_tasks(self) -> None:
        """Wraps the methods of every task class, and of each that is defined later (a plugin's, for one)."""
        visit_subclasses(self._flyte.extend.TaskTemplate, self._wrap)

    def _wrap(self, cls: type) -> None:
        for method, wrap in [("execute", self._wrapped_execute), ("forward", self._wrapped_forward)]:
            if own := connectors.own_method(self._flyte.extend.TaskTemplate, cls, method):
                setattr(cls, method, wrap(own))

    def _action(self) -> object:
        """Returns which execution of the run this is; None outside one."""
        context = self._flyte.ctx()
        return context.action if context else None

    def _view(self, task: Task, action: object) -> tuple[views.View, Values]:
        who = f"task {task.name}"
        declared = as_secrets(self._flyte, task.secrets)
        parameters = connectors.wanted(self._flyte, task, declared)
        handed_over = connectors.inherited_values(parameters)
        asked = [parameter for parameter in parameters if views.encoded(parameter.as_env_var) not in handed_over]
        own, values = self.provide([*declared, *asked], needed_by=who, holder=who)
        view = views.View(task, who, action, {**own, **handed_over}, plain_variables(task.env_vars, who))
        return view, values

    def _wrapped_execute(self, execute: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        @functools.wraps(execute)
        async def execute_with_secrets(task: Task, *args: Any, **kwargs: Any) -> Any:
            view, action = views.current.get(), self._action()
            if view is not None and view.is_of(task, action):  # A subclass calls super().execute().
                return await execute(task, *args, **kwargs)
            self._leaks.note_places()
            view, values = self._view(task, action)
            with view, self._containers.of(task):
                try:
                    returned = await execute(task, *args, **kwargs)
                except Exception as error:
                    self._leaks.check_error(task, values, error)
                    raise
            self._leaks.check(task, values, returned)
            return returned

        return execute_with_secrets

    def _wrapped_forward(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        """Wraps `forward`, which calls the function in place: in a run if the caller asks for it, outside one always."""

        async def finish(task: Task, coroutine: Coroutine[Any, Any, Any]) -> Any:
            __tracebackhide__ = True
            try:
                view, values = self._view(task, None)
            except BaseException:
                coroutine.close()
                raise
            with view:
                returned = await coroutine
            self._leaks.check(task, values, returned)
            return returned

        @functools.wraps(forward)
        def forward_with_secrets(task: Task, *args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            view = views.current.get()
            if self._action() is not None or (view is not None and view.is_of(task, None)):
                return forward(task, *args, **kwargs)
            if inspect.iscoroutinefunction(getattr(task, "func", None)):
                return finish(task, forward(task, *args, **kwargs))
            view, values = self._view(task, None)
            with view:
                returned = forward(task, *args, **kwargs)
            self._leaks.check(task, values, returned)
            return returned

        return forward_with_secrets
