"""Flyte's own command, unchanged but for hooks on what it does on this machine.

The SDK parses the command line, and the hooks are placed when it has chosen what to do, before it imports a file of the user's:
`Local` for tasks that run and apps that are served on this machine, `build` for images that are built on it. Every other
command runs as it does without flyte-local, and may call a cluster.
"""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any

from .errors import hook_command, hook_excepthook, hook_log
from .local import keep_scope, report_scope

if TYPE_CHECKING:
    from collections.abc import Callable

    import click

    from . import messages
    from .broker import Broker
    from .sdk import Sdk

    # Places the hooks of a run, with these settings.
    Hook = Callable[[messages.Settings], object]

# The verbs that build images, on every version.
BUILDERS = ("build", "deploy")


def run_flyte(broker: Broker, flyte: Sdk, start: messages.Start, hook: Hook, hook_builds: Callable[[], None]) -> None:
    """Runs Flyte's own command. `hook` places the hooks of a run, `hook_builds` those on builds of images alone."""
    import click
    from flyte.cli.main import main

    local = Local(broker, flyte, start["settings"], hook, hook_builds)
    resolve = click.Group.resolve_command

    @functools.wraps(resolve)
    def resolve_command(self: click.Group, context: click.Context, arguments: list[str]) -> Any:
        # The arguments of the verb are resolved after those of the command, and its file is imported then.
        if context.info_name in BUILDERS and context.parent is not None and context.parent.parent is None:
            local.begin_build(context)
        name, command, rest = resolve(self, context, arguments)
        # A group has the options of `run` or of `serve` as it will use them, before it imports the file.
        for options in ("run_args", "serve_args"):
            local.consider(context, getattr(command, options, None))
        return name, command, rest

    setattr(click.Group, "resolve_command", resolve_command)
    sys.argv = ["flyte", *arguments_of(start)]
    main(args=arguments_of(start), prog_name="flyte")


def arguments_of(start: messages.Start) -> list[str]:
    job = start["job"]
    return list(job["arguments"]) if job["mode"] == "command" else []


class Local:
    """Places the hooks once, when the SDK has chosen to do something on this machine."""

    def __init__(
        self, broker: Broker, flyte: Sdk, settings: messages.Settings, hook: Hook, hook_builds: Callable[[], None]
    ) -> None:
        self._broker = broker
        self._flyte = flyte
        self._settings = settings
        self._hook = hook
        self._hook_builds = hook_builds
        self._has_begun = False

    def consider(self, context: click.Context, options: Any) -> None:
        """Begins if the options of `run` or `serve` say that it is done here."""
        is_tracked = bool(getattr(options, "tracked", False))
        if not (is_tracked or getattr(options, "local", False)) or self._has_begun:
            return
        settings = self._settings
        if endpoint := reported_to(context, is_tracked):
            settings = self._tracked(endpoint)
        self._begin(context)
        self._hook(settings)

    def begin_build(self, context: click.Context) -> None:
        """Begins for `build` and `deploy`, which import the user's file and then build its images.

        Only images get secrets here: a file that could read them would send them to the cluster with what it declares.
        """
        self._begin(context)
        self._hook_builds()

    def _begin(self, context: click.Context) -> None:
        self._has_begun = True
        hook_log(self._flyte)
        hook_excepthook(self._flyte)
        hook_command(self._flyte)
        keep_scope(self._broker, self._flyte)
        configured = context.find_root().obj.config.task
        try:
            report_scope(self._broker, configured.project, configured.domain)
        except ValueError as error:
            self._broker.fail(str(error))

    def _tracked(self, endpoint: str) -> messages.Settings:
        """Returns the settings of a run whose inputs and outputs leave the machine, and says so."""
        leaks = self._settings["leaks"] or "deny"
        line = f"Flyte reports this run, with its inputs and outputs, to {endpoint}"
        if self._settings["leaks"] is None:
            line += ": a task that returns or is given a secret fails (see --leaks)"
        print(f"flyte-local: {line}", file=sys.stderr)
        return {**self._settings, "leaks": leaks}


def reported_to(context: click.Context, is_tracked: bool) -> str | None:
    """Returns the control plane to which the SDK reports the run, if it does."""
    root = context.find_root().obj
    if not is_tracked and not getattr(getattr(root.config, "local", None), "tracked", False):
        return None
    return str(root.endpoint or root.config.platform.endpoint or "its control plane")
