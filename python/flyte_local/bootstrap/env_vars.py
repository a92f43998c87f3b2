"""The variables that `env_vars=` of an environment sets, or that of a task's override: on a cluster, they are in the pod."""

from __future__ import annotations

from typing import Any

from . import views


def plain_variables(declared: Any, who: str) -> dict[bytes, bytes]:
    """Returns the variables that `env_vars=` of a task or an app declares; `who` names it in words.

    The override of a task replaces those of its environment.
    """
    if not isinstance(declared, dict):
        return {}
    variables: dict[bytes, bytes] = {}
    for name, value in declared.items():
        if not (is_usable(name) and is_usable(value) and name and "=" not in name):
            # `flyte deploy` raises an error of the library that encodes messages.
            line = f"env_vars= of {who}: {str(name)!r} is not set, because names and values are text, and a deployment fails"
            views.say_once(line, about=("env_vars", who, str(name)))
            continue
        encoded, stored = views.encoded(name), views.environ.encodevalue(value)
        variables[encoded] = stored
        if views.SHELL.get(encoded, stored) != stored:
            views.say_once(f"{name} of the shell is replaced by env_vars= of {who}", about=("env_vars", who, name))
    return variables


def is_usable(text: object) -> bool:
    """Returns whether the name or the value of a variable can be this."""
    if not isinstance(text, str) or "\0" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:  # It has half of a surrogate pair.
        return False
    return True
