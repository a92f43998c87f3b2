"""The ways to hand over to the user's code: as a script, as a module, as a task of a file."""

import ast
import functools
import os
import sys
import types
import warnings

# Stands for "the only task, or `main`" where no task is named. No attribute of a module can have this name.
CHOOSE = "<the only task>"


def has_main_block(path):
    """Whether the file has an `if __name__ == "__main__":` at its top level."""
    with open(path, "rb") as source:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Running it says them.
                tree = ast.parse(source.read(), path)
        except (SyntaxError, ValueError):
            return True  # Running it shows the error as Python does.
    wanted = {"__name__", "'__main__'"}
    tests = (node.test for node in tree.body if isinstance(node, ast.If))
    return any(
        isinstance(test, ast.Compare)
        and len(test.comparators) == 1
        and isinstance(test.ops[0], ast.Eq)
        and {ast.unparse(test.left), ast.unparse(test.comparators[0])} == wanted
        for test in tests
    )


def set_first_path(directory):
    """Puts `directory` where Python puts a script's own, in place of the one that `-c` brought."""
    if getattr(sys.flags, "safe_path", False):
        return
    sys.path.insert(0, directory)


def run_script(path, arguments):
    """Runs the file as `python FILE ARGS…` does."""
    import builtins
    import importlib.machinery

    sys.argv = [path, *arguments]
    set_first_path(os.path.dirname(os.path.realpath(path)))
    main = types.ModuleType("__main__")
    main.__file__ = os.path.join(os.getcwd(), path)
    main.__builtins__ = builtins
    loader = main.__loader__ = importlib.machinery.SourceFileLoader("__main__", main.__file__)
    sys.modules["__main__"] = main
    # Not the loader's `get_code`, which would leave a compiled file behind; Python leaves none of a script.
    try:
        code = compile(loader.get_data(main.__file__), main.__file__, "exec", dont_inherit=True)
    except SyntaxError as error:
        # The SDK's own hook, in place by now, would show neither the line nor the mark.
        sys.__excepthook__(type(error), error.with_traceback(None), None)
        sys.exit(1)
    exec(code, main.__dict__)


def run_module(module, arguments):
    """Runs the module as `python -m MODULE ARGS…` does."""
    import runpy

    sys.argv = ["-m", *arguments]
    set_first_path(os.getcwd())
    sys.modules["__main__"] = types.ModuleType("__main__")
    # What `python -m` itself calls; `runpy.run_module` would put the old __main__ back before threads and atexit end.
    runpy._run_module_as_main(module)


def run_task(broker, path, task, job):
    """Runs `flyte run --local FILE TASK ARGS…`."""
    hook_choice(broker, path)
    run_command(path, task, job)


def run_command(path, task, job):
    """Hands over to the SDK's own command."""
    from flyte.cli.main import main

    options = [f"--{part}={job[part]}" for part in ("project", "domain") if job[part]]
    # The SDK refuses an absolute path outside the working directory.
    arguments = ["run", "--local", *options, os.path.relpath(path), *task]
    sys.argv = ["flyte", *arguments]
    main(args=arguments, prog_name="flyte")


def hook_choice(broker, path):
    """Lets the SDK's own command, which imports the file once, choose the task where none is named."""
    import click

    resolve = click.Group.resolve_command

    @functools.wraps(resolve)
    def resolve_command(group, context, arguments):
        if hasattr(type(group), "objs") and arguments[0] not in group.list_commands(context):
            arguments = [choose_task(broker, path, group.objs, arguments[0]), *arguments[1:]]
        return resolve(group, context, arguments)

    click.Group.resolve_command = resolve_command


def choose_task(broker, path, tasks, wanted):
    """The task to run where none, or no such one, was named; reports which there are where it is not clear."""
    module = os.path.splitext(os.path.basename(path))[0]
    own = [name for name, task in tasks.items() if getattr(getattr(task, "func", None), "__module__", None) == module]
    if wanted == CHOOSE:
        if "main" in tasks:
            return "main"
        if len(own) == 1:
            return own[0]
        message = f"{path} has no __main__ block, no task named main, and {len(own)} tasks of its own"
    else:
        message = f"{path} has no task {wanted!r}"
    hints = [f"name one: {{run}} {sorted(own or tasks)[0]}"]
    if has_main_block(path):
        hints.append(f"arguments of its __main__ block stand after --: {{run}} -- {wanted}")
    broker.fail(f"{message}; its tasks are {', '.join(sorted(tasks))}", *hints, code=2)
