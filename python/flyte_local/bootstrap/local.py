"""Keeps every run on this machine, whatever a configuration or the user's code names."""

from __future__ import annotations

import functools
import inspect
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .broker import Broker
    from .sdk import Sdk


def report_scope(broker: Broker, project: str | None, domain: str | None) -> None:
    """Reports to the broker the project and domain that Flyte's own configuration, or the user's code, names."""
    if not (project or domain) or broker.is_forked():
        return
    reply = broker.ask({"op": "scope", "project": project or None, "domain": domain or None})
    if "error" in reply:
        raise ValueError(reply["error"])


def stay_local(broker: Broker, flyte: Sdk) -> None:
    """Makes `flyte.init…` forget the cluster, so that everything runs here and nothing reaches for a network."""
    init = flyte.init.fn
    parameters = inspect.signature(init).parameters

    @functools.wraps(init)
    async def init_locally(*args: Any, **kwargs: Any) -> Any:
        arguments = inspect.signature(init).bind(*args, **kwargs).arguments
        for remote in ("endpoint", "api_key", "local_tracked", "local_tracked_strict"):
            arguments.pop(remote, None)
        report_scope(broker, arguments.get("project"), arguments.get("domain"))
        return await init(**arguments)

    flyte.init.fn = init_locally

    # Everything else that initialises goes through `flyte.init`, but this one wants a key first.
    from_key = flyte.init_from_api_key.fn

    @functools.wraps(from_key)
    async def init_without_key(*args: Any, **kwargs: Any) -> None:
        arguments = inspect.signature(from_key).bind(*args, **kwargs).arguments
        await init_locally(**{name: value for name, value in arguments.items() if name in parameters})

    flyte.init_from_api_key.fn = init_without_key

    with_runcontext = flyte.with_runcontext

    @functools.wraps(with_runcontext)
    def with_local_runcontext(mode: str | None = None, *args: Any, **kwargs: Any) -> Any:
        if mode not in (None, "local"):
            print(f"flyte-local: mode={mode!r} is passed over, this runs locally", file=sys.stderr)
        report_scope(broker, kwargs.get("project"), kwargs.get("domain"))
        return with_runcontext("local", *args, **kwargs)

    flyte.with_runcontext = with_local_runcontext
