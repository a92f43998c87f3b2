"""The part of flyte-local that runs inside the user's Python, before and around the user's file.

It hooks the SDK's public names so that secrets are asked for when an environment is declared and when a task is about
to execute, keeps every run local, and then hands over to the user's file, in this process and once. It knows nothing of
the vault: it asks the broker at the other end of the inherited socket.

`load.py` makes the package `_flyte_local` of these files and calls `start`. They are compiled under the name `<flyte-local>`,
which deliberately names no file: the SDK takes the first existing file on the stack for the user's own.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from . import children, inheritance
from .apps import Apps
from .broker import Broker, die_with
from .builds import Builds, hook_builds
from .command import run_flyte
from .errors import hook_command, hook_excepthook, hook_log
from .imports import Scan
from .injection import Secrets
from .local import report_scope, stay_local
from .modes import CHOOSE, has_main_block, run_module, run_script, run_task
from .redirect import lead_to
from .survey import survey
from .withheld import Withheld
from .workers import hook_workers

if TYPE_CHECKING:
    from . import messages
    from .sdk import Sdk


def supported_sdk() -> Sdk:
    """Imports the parts of the SDK that are hooked.

    Raises:
        ImportError, AttributeError: It lacks one of them.

    """
    import flyte
    import flyte.config
    import flyte.errors
    import flyte.extend

    _ = (flyte.Environment, flyte.Secret, flyte.extend.TaskTemplate.execute, flyte.init.fn, flyte.with_runcontext)
    sdk: Sdk = flyte
    return sdk


NOT_SUPPORTED = f"the flyte package of {sys.executable} is not a Flyte SDK version that flyte-local supports"


def import_sdk(broker: Broker) -> Sdk:
    try:
        import flyte  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "flyte":
            raise
        broker.ask({"op": "lacks_sdk", "python": sys.executable})
        sys.exit(1)
    try:
        return supported_sdk()
    except (ImportError, AttributeError):
        broker.fail(NOT_SUPPORTED, f"it needs flyte 2.0.0 or newer: {sys.executable} -m pip install --upgrade flyte")


def begin(descriptor: int, settings: messages.Settings, parent: int) -> Broker:
    """Opens the broker, and does what has to be done before the SDK is imported."""
    broker = Broker(descriptor)
    die_with(parent)
    if settings["secrets_directory"]:
        lead_to(settings["secrets_directory"])
    return broker


def hook(broker: Broker, flyte: Sdk, settings: messages.Settings, job: messages.Job | None = None) -> Scan:
    """Places the hooks of a run that stays on this machine."""
    hook_log(flyte)
    scan = hook_runs(broker, flyte, settings)
    withheld = Withheld(flyte, settings, job)
    withheld.hook()
    stay_local(broker, flyte, withheld)
    return scan


def hook_runs(broker: Broker, flyte: Sdk, settings: messages.Settings) -> Scan:
    """Places the hooks on what is declared, runs and is served in this process, for a run and for Flyte's own command."""
    secrets = Secrets(broker, flyte, settings)
    secrets.hook_environments()
    secrets.hook_tasks()
    Apps(secrets, flyte).hook()
    Builds(broker, flyte).hook()
    scan = Scan(secrets, flyte)
    scan.hook()
    return scan


def start_worker(descriptor: int, start: messages.WorkerStart) -> None:
    """Begins in a worker of pytest-xdist, before any of its code. The broker is that of the process that started it."""
    broker = begin(descriptor, start["settings"], start["parent"])
    hook(broker, import_sdk(broker), start["settings"])


def start_child(descriptor: int, joined: messages.Joined, place: str) -> None:
    """Begins in a process that joins the run, while it imports the SDK, and knows where `join.py` lies."""
    broker = Broker(descriptor)
    settings = joined["settings"]
    if settings["secrets_directory"]:
        lead_to(settings["secrets_directory"])
    inheritance.join(joined)
    children.lead_to(place)
    try:
        flyte = supported_sdk()
    except (ImportError, AttributeError):
        print(f"flyte-local: tasks of process {os.getpid()} get no secrets: {NOT_SUPPORTED}", file=sys.stderr)
        return
    hook_excepthook(flyte)
    scan = hook(broker, flyte, settings)
    hook_command(flyte)
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        scan.before(frame.f_code.co_filename)


def start(descriptor: int, start: messages.Start) -> None:
    """Begins in the first interpreter of a run, and runs the user's code to its end."""
    broker = begin(descriptor, start["settings"], start["parent"])
    if start["join"] is not None:
        children.invite(start["join"])
    flyte = import_sdk(broker)
    if start["job"]["mode"] == "command":
        run_flyte(broker, flyte, start, lambda settings: hook_runs(broker, flyte, settings), lambda: hook_builds(broker, flyte))
        return
    hook_excepthook(flyte)
    scan = hook(broker, flyte, start["settings"], start["job"])
    hook_command(flyte)
    configured = flyte.config.auto().task
    try:
        report_scope(broker, configured.project, configured.domain)
    except ValueError as error:
        broker.fail(str(error))

    job = start["job"]
    if job["mode"] == "survey":
        survey(broker, flyte, job)
        return
    arguments = job["arguments"]
    if job["mode"] == "module":
        if job["module"] == "pytest":
            hook_workers(broker, start)
        run_module(job["module"], arguments)
        return
    path = job["file"]
    if arguments and not arguments[0].startswith("-"):
        run_task(broker, flyte, path, arguments, job)
    elif has_main_block(path):
        scan.before(path)
        run_script(path, arguments[1:] if arguments[:1] == ["--"] else arguments)
    else:
        run_task(broker, flyte, path, [CHOOSE, *arguments], job)
