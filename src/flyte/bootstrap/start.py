"""The part of flyte-local that runs inside the user's Python, before and around the user's file.

It hooks the SDK's public names so that secrets are asked for when an environment is declared and when a task is about
to execute, keeps every run local, and then hands over to the user's file, in this process and once. It knows nothing of
the vault: it asks the broker at the other end of the inherited socket.

`load.py` makes the package `_flyte_local` of these files and calls `start`. They are compiled under
`<flyte-local>`, which is no file on purpose: the SDK takes the first existing file on the stack for the user's own.
"""

import sys

from _flyte_local.broker import Broker, die_with
from _flyte_local.local import report_scope, stay_local
from _flyte_local.modes import CHOOSE, has_main_block, run_module, run_script, run_task
from _flyte_local.imports import Scan
from _flyte_local.injection import Secrets
from _flyte_local.redirect import lead_to
from _flyte_local.survey import survey
from _flyte_local.workers import hook_workers


def import_sdk(broker):
    try:
        import flyte
    except ModuleNotFoundError as error:
        if error.name != "flyte":
            raise
        broker.ask("lacks_sdk", python=sys.executable)
        sys.exit(1)
    try:
        import flyte.config
        import flyte.errors
        import flyte.extend

        _ = (flyte.Environment, flyte.Secret, flyte.extend.TaskTemplate.execute, flyte.init.fn, flyte.with_runcontext)
    except (ImportError, AttributeError):
        broker.fail(
            f"the flyte package of {sys.executable} is not a Flyte SDK that flyte-local knows",
            f"it needs flyte 2.0.0 or newer: {sys.executable} -m pip install --upgrade flyte",
        )
    return flyte


def hide_own_frames():
    """Shows the user's traceback from the user's first frame on."""
    show = sys.excepthook

    def excepthook(kind, error, traceback):
        while traceback and traceback.tb_frame.f_code.co_filename in ("<string>", "<flyte-local>"):
            traceback = traceback.tb_next
        show(kind, error.with_traceback(traceback), traceback)

    sys.excepthook = excepthook


def begin(descriptor, settings, parent):
    """The broker, and what has to be in place before the SDK is imported."""
    broker = Broker(descriptor)
    die_with(parent)
    if settings["secrets_directory"]:
        lead_to(settings["secrets_directory"])
    return broker


def hook(broker, flyte, settings):
    secrets = Secrets(broker, flyte, settings)
    secrets.hook_environments()
    secrets.hook_tasks()
    stay_local(broker, flyte)
    scan = Scan(secrets, flyte)
    scan.hook()
    return scan


def start_worker(descriptor, settings, parent):
    """In a worker of pytest-xdist, before any of its code. The broker is the one of the process that started it."""
    broker = begin(descriptor, settings, parent)
    hook(broker, import_sdk(broker), settings)


def start(descriptor, job, settings, parent):
    broker = begin(descriptor, settings, parent)
    flyte = import_sdk(broker)
    hide_own_frames()
    scan = hook(broker, flyte, settings)
    configured = flyte.config.auto().task
    try:
        report_scope(broker, configured.project, configured.domain)
    except ValueError as error:
        broker.fail(str(error))

    if job["mode"] == "survey":
        survey(broker, flyte, job)
        return
    arguments = job["arguments"]
    if job["mode"] == "module":
        if job["module"] == "pytest":
            hook_workers(broker, settings)
        run_module(job["module"], arguments)
        return
    path = job["file"]
    if arguments and not arguments[0].startswith("-"):
        run_task(broker, path, arguments, job)
    elif has_main_block(path):
        scan.before(path)
        run_script(path, arguments[1:] if arguments[:1] == ["--"] else arguments)
    else:
        run_task(broker, path, [CHOOSE, *arguments], job)
