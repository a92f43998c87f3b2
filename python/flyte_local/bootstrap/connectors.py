"""The parameters of connectors that are secrets, and the methods that a task class has from a class that is not a task's.

A connector task does nothing itself: its `custom_config` names secrets, by parameter of the connector. A cluster looks them up
and hands them over. In a local run, the SDK reads variables of these names in their place.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from . import views

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .sdk import Sdk, Secret, Task

# The class of the SDK that runs a connector in place of a task.
EXECUTOR = "AsyncConnectorExecutorMixin"


class Parameter(NamedTuple):
    """A secret that a connector takes as a parameter; like a `flyte.Secret`, of which not every name can be made."""

    key: str
    group: str | None
    as_env_var: str
    parameter: str


def parameters(flyte: Sdk, task: Task) -> list[tuple[str, str]]:
    """Returns the parameters of the task's connector that are secrets, and the name that the task gives for each."""
    if not any(cls.__name__ == EXECUTOR and cls.__module__.startswith("flyte.") for cls in type(task).__mro__):
        return []
    from flyte.models import SerializationContext

    context = flyte.ctx()
    action: Any = context.action if context else None
    scope = {name: getattr(action, name, None) for name in ("project", "domain", "org")}
    try:
        custom: Any = task.custom_config(SerializationContext(version="na", **scope))
    except Exception as error:
        # The SDK calls it too, and raises this where it needs the result.
        line = f"the secrets of the connector of task {task.name} are not known: custom_config raised {type(error).__name__}"
        views.say_once(line, about=("connector", task.name))
        return []
    named = custom.get("secrets") if isinstance(custom, Mapping) else None
    if not isinstance(named, Mapping):
        return []
    return [(parameter, name) for parameter, name in named.items() if isinstance(name, str)]


def wanted(flyte: Sdk, task: Task, declared: Iterable[Secret]) -> list[Parameter]:
    """Returns the secrets of the task's connector, without those that the task itself declares as variables.

    A variable of that name that something else in the run declares is the secret: before connectors got theirs from the vault,
    a declaration was the only way to hand one over.
    """
    variables = {secret.as_env_var for secret in declared}
    found: list[Parameter] = []
    for parameter, name in parameters(flyte, task):
        if name not in variables:
            identities = [identity for identity in views.managed.get(views.encoded(name), ()) if identity is not None]
            key, group = identities[0] if identities else (name, None)
            found.append(Parameter(key, group, name, parameter))
    return found


def inherited_values(found: Iterable[Parameter]) -> dict[bytes, bytes]:
    """Returns the variables of these that the task under way, which calls the connector's, has itself."""
    caller = views.current.get()
    if caller is None:
        return {}
    values = {name: caller.get(name) for name in (views.encoded(parameter.as_env_var) for parameter in found)}
    return {name: value for name, value in values.items() if value is not None}


def own_method(template: type, cls: type, method: str) -> Callable[..., Any] | None:
    """Returns the method to wrap in `cls` itself; None if it comes from a task class, where it is wrapped."""
    provider = next(base for base in cls.__mro__ if method in base.__dict__)
    inherited: Callable[..., Any] = provider.__dict__[method]
    if provider is cls:
        return inherited
    if issubclass(provider, template):
        return None

    @functools.wraps(inherited)
    def call_inherited(task: Any, *args: Any, **kwargs: Any) -> Any:
        # Looked up at the call, because a test may replace it in the class that has it.
        return getattr(super(cls, task), method)(*args, **kwargs)

    return call_inherited
