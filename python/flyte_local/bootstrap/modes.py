"""The ways to hand over to the user's code: as a script, as a module, as a task of a file."""

from __future__ import annotations

import ast
import functools
import os
import sys
import types
import warnings
from typing import TYPE_CHECKING, Any, cast

from .apps import app_named, apps_of, serve_until_interrupted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from . import messages
    from .broker import Broker
    from .sdk import App, Group, Sdk

# Stands for "the only task, or `main`", or the only app, where none is named. No attribute of a module can have this name.
CHOOSE = "<the only task>"


def has_main_block(path: str) -> bool:
    """Returns whether the file has an `if __name__ == "__main__":` at its top level."""
    with open(path, "rb") as source:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Python shows them when it runs the file.
                tree = ast.parse(source.read(), path)
        except (SyntaxError, ValueError):
            return True  # Python shows the error when it runs the file.
    wanted = {"__name__", "'__main__'"}
    tests = (node.test for node in tree.body if isinstance(node, ast.If))
    return any(
        isinstance(test, ast.Compare)
        and len(test.comparators) == 1
        and isinstance(test.ops[0], ast.Eq)
        and {ast.unparse(test.left), ast.unparse(test.comparators[0])} == wanted
        for test in tests
    )


def set_first_path(directory: str) -> None:
    """Puts `directory` where Python puts a script's own, in place of the one that `-c` brought."""
    if getattr(sys.flags, "safe_path", False):
        return
    sys.path.insert(0, directory)


def run_script(path: str, arguments: list[str]) -> None:
    """Runs the file as `python FILE ARGS…` does."""
    import builtins
    import importlib.machinery

    sys.argv = [path, *arguments]
    set_first_path(os.path.dirname(os.path.realpath(path)))
    main = types.ModuleType("__main__")
    file = main.__file__ = os.path.join(os.getcwd(), path)
    main.__dict__["__builtins__"] = builtins
    loader = main.__loader__ = importlib.machinery.SourceFileLoader("__main__", file)
    sys.modules["__main__"] = main
    # Not the loader's `get_code`, which would leave a compiled file behind; Python leaves none of a script.
    try:
        code = compile(loader.get_data(file), file, "exec", dont_inherit=True)
    except SyntaxError as error:
        # The SDK's hook, which is in place already, would show neither the line nor the mark.
        sys.__excepthook__(type(error), error.with_traceback(None), None)
        sys.exit(1)
    exec(code, main.__dict__)


def run_module(module: str, arguments: list[str]) -> None:
    """Runs the module as `python -m MODULE ARGS…` does."""
    import runpy

    sys.argv = ["-m", *arguments]
    set_first_path(os.getcwd())
    sys.modules["__main__"] = types.ModuleType("__main__")
    # `python -m` itself calls this; `runpy.run_module` would put the old __main__ back before threads and atexit end.
    runpy._run_module_as_main(module)  # type: ignore[attr-defined]


def run_task(broker: Broker, flyte: Sdk, path: str, task: list[str], job: messages.FileJob) -> None:
    """Runs `flyte run --local FILE TASK ARGS…`, or serves an app of the file."""
    hook_choice(broker, flyte, path)
    run_command(path, task, job["project"], job["domain"])


def run_command(path: str, task: list[str], project: str | None, domain: str | None) -> None:
    """Hands over to the SDK's own command."""
    from flyte.cli.main import main

    options = [f"--{name}={value}" for name, value in (("project", project), ("domain", domain)) if value]
    # The SDK refuses an absolute path outside the working directory, and would take `-x.py` for an option.
    relative = os.path.relpath(path)
    relative = os.path.join(os.curdir, relative) if relative.startswith("-") else relative
    arguments = ["run", "--local", *options, relative, *task]
    sys.argv = ["flyte", *arguments]
    main(args=arguments, prog_name="flyte")


def hook_choice(broker: Broker, flyte: Sdk, path: str) -> None:
    """Lets the SDK's own command, which imports the file once, choose the task where none is named, or serve an app."""
    import click

    resolve = click.Group.resolve_command

    @functools.wraps(resolve)
    def resolve_command(self: click.Group, context: click.Context, arguments: list[str]) -> Any:
        if hasattr(type(self), "objs"):
            try:
                self.list_commands(context)
                tasks: Mapping[str, object] = cast("Group", self).objs
            except click.ClickException as error:
                # The SDK says this, on every version, about a file that was imported and has no task.
                if not error.message.startswith("No objects found in "):
                    raise
                tasks = {}
            if arguments[0] not in tasks:
                apps = apps_of(flyte, path)
                app = choose_app(broker, path, tasks, apps, arguments)
                if app is not None:
                    serve_until_interrupted(broker, flyte, app)
                arguments = [choose_task(broker, path, tasks, apps, arguments[0]), *arguments[1:]]
        return resolve(self, context, arguments)

    setattr(click.Group, "resolve_command", resolve_command)


def choose_app(
    broker: Broker, path: str, tasks: Mapping[str, object], apps: Mapping[str, App], arguments: list[str]
) -> App | None:
    """Returns the app to serve; None if it is a task that is to be run. Fails if the file has neither, or it is not clear."""
    wanted, *more = arguments
    app = app_named(apps, wanted)
    if app is None and not tasks and wanted == CHOOSE and len(apps) == 1:
        app = next(iter(apps.values()))
    if app is not None:
        if more:
            broker.fail(f"app {app.name} takes no arguments, so not {more[0]!r}", code=2)
        return app
    if tasks:
        return None
    if not apps:
        broker.fail(f"{path} has no tasks", *hints_without_tasks(path, wanted), code=2)
    message = f"{path} has {len(apps)} apps" if wanted == CHOOSE else f"{path} has no app {wanted!r}"
    broker.fail(f"{message}; its apps are {', '.join(sorted(apps))}", *hints_to_name(path, min(apps), wanted), code=2)


def hints_without_tasks(path: str, wanted: str) -> list[str]:
    """Returns what to type for a file that has no tasks."""
    hints = ["run an ordinary script with secrets: {exec}"]
    if wanted != CHOOSE and has_main_block(path):
        hints.insert(0, f"arguments of its __main__ block stand after --: {{run}} -- {wanted}")
    return hints


def choose_task(broker: Broker, path: str, tasks: Mapping[str, object], apps: Mapping[str, App], wanted: str) -> str:
    """Returns the task to run if none, or an unknown one, was named; if the choice is not clear, fails and lists the tasks."""
    module = os.path.splitext(os.path.basename(path))[0]
    own = [name for name, task in tasks.items() if getattr(getattr(task, "func", None), "__module__", None) == module]
    if wanted == CHOOSE:
        if "main" in tasks:
            return "main"
        if len(own) == 1:
            return own[0]
        message = f"{path} has no __main__ block and no task named main, and it defines {len(own)} tasks"
    else:
        message = f"{path} has no task {wanted!r}"
    known = f"its tasks are {', '.join(sorted(tasks))}"
    if apps:
        known += f", and its apps are {', '.join(sorted(apps))}"
    broker.fail(f"{message}; {known}", *hints_to_name(path, min(own or tasks), wanted), code=2)


def hints_to_name(path: str, known: str, wanted: str) -> list[str]:
    """Returns what to type in place of a name that is unknown, or missing."""
    hints = [f"name one: {{run}} {known}"]
    if has_main_block(path) and wanted != CHOOSE:
        hints.append(f"arguments of its __main__ block stand after --: {{run}} -- {wanted}")
    return hints
