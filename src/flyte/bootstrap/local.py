"""Keeps every run on this machine, whatever a configuration or the user's code names."""

import functools
import inspect
import sys


def report_scope(broker, project, domain):
    """Tells the broker the project and domain that Flyte's own configuration, or the user's code, names."""
    if not (project or domain) or broker.is_forked():
        return
    reply = broker.ask("scope", project=project or None, domain=domain or None)
    if "error" in reply:
        raise ValueError(reply["error"])


def stay_local(broker, flyte):
    """Makes `flyte.init…` forget the cluster, so that what follows runs here and nothing reaches for a network."""
    init = flyte.init.fn
    parameters = inspect.signature(init).parameters

    @functools.wraps(init)
    async def init_locally(*args, **kwargs):
        arguments = inspect.signature(init).bind(*args, **kwargs).arguments
        for remote in ("endpoint", "api_key", "local_tracked", "local_tracked_strict"):
            arguments.pop(remote, None)
        report_scope(broker, arguments.get("project"), arguments.get("domain"))
        return await init(**arguments)

    flyte.init.fn = init_locally

    # Everything else that initialises goes through `flyte.init`, but this one wants a key first.
    from_key = flyte.init_from_api_key.fn

    @functools.wraps(from_key)
    async def init_without_key(*args, **kwargs):
        arguments = inspect.signature(from_key).bind(*args, **kwargs).arguments
        await init_locally(**{name: value for name, value in arguments.items() if name in parameters})

    flyte.init_from_api_key.fn = init_without_key

    with_runcontext = flyte.with_runcontext

    @functools.wraps(with_runcontext)
    def with_local_runcontext(mode=None, *args, **kwargs):
        if mode not in (None, "local"):
            print(f"flyte-local: mode={mode!r} is passed over, this runs locally", file=sys.stderr)
        report_scope(broker, kwargs.get("project"), kwargs.get("domain"))
        return with_runcontext("local", *args, **kwargs)

    flyte.with_runcontext = with_local_runcontext
