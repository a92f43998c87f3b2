"""The part of flyte-local that runs inside the user's Python, before and around the user's file.

It hooks the SDK's public names so that secrets are asked for when an environment is declared and when a task is about
to execute, keeps every run local, and then hands over to the user's file, in this process and once. It knows nothing of
the vault: it asks the broker at the other end of the inherited socket, one JSON object a line each way.

The loader (`broker.rs`) defines SOCKET, JOB and PARENT. The name under which this is compiled, `<flyte-local>`, is no
file on purpose: the SDK takes the first existing file on the stack for the user's own.
"""

import ast
import contextvars
import functools
import inspect
import json
import os
import queue
import signal
import socket
import sys
import threading
import types

# Stands for "the only task, or `main`" where no task is named. No attribute of a module can have this name.
CHOOSE = "<the only task>"


class Broker:
    """The inherited socket.

    A thread of its own talks to it, one request after the other. So a signal handler that raises while a request is
    under way (Ctrl-C, a test's time limit) cannot leave its reply behind for the next request to take. It starts before
    any code of the user's, and shares nothing but queues that cannot be interrupted halfway, which rules out
    `concurrent.futures`.
    """

    def __init__(self, descriptor):
        os.set_inheritable(descriptor, False)
        self._socket = socket.socket(fileno=descriptor)
        self._requests = queue.SimpleQueue()
        self._process = os.getpid()
        threading.Thread(target=self._serve, name="flyte-local", daemon=True).start()

    def is_forked(self):
        """Whether this is a process forked from the one that has the socket."""
        return os.getpid() != self._process

    def ask(self, op, **fields):
        if self.is_forked():
            raise RuntimeError("flyte-local gives secrets to the process it started, not to one forked from it")
        answer = queue.SimpleQueue()
        self._requests.put((json.dumps({"op": op, **fields}).encode() + b"\n", answer))
        reply = answer.get()
        if not reply.endswith(b"\n"):
            raise RuntimeError("flyte-local has gone away")
        return json.loads(reply)

    def _serve(self):
        replies = self._socket.makefile("rb")
        while True:
            request, answer = self._requests.get()
            try:
                self._socket.sendall(request)
                reply = replies.readline()
            except OSError:
                reply = b""
            answer.put(reply)

    def fail(self, message, *hints, code=1):
        """Has flyte-local report why the run cannot go on, and ends it. For the main thread."""
        self.ask("fail", message=message, hints=hints, code=code)
        sys.exit(code)


def die_with(parent):
    """Ends this process when flyte-local dies, however it dies, so that nothing of a run outlives it."""
    if not sys.platform.startswith("linux"):
        return
    try:
        import ctypes
    except ImportError:  # A Python built without libffi.
        return
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, int(signal.SIGKILL))
    if os.getppid() != parent:  # It died before the line above.
        os._exit(1)


def import_sdk(broker):
    try:
        import flyte
    except ModuleNotFoundError as error:
        if error.name != "flyte":
            raise
        broker.fail(
            f"{sys.executable} has no flyte package",
            f"install it: {sys.executable} -m pip install flyte",
            "or name another interpreter: flyte-local run --python PYTHON …",
        )
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


def secret_error(flyte, message):
    """An error that is not worth a retry, where the SDK has one: trying again does not bring the secret."""
    kind = getattr(flyte.errors, "NonRecoverableError", None)
    return kind(message, "SecretUnavailable") if kind else flyte.errors.RuntimeUserError("SecretUnavailable", message)


class Secrets:
    """Puts declared secrets where the declaration says."""

    def __init__(self, broker, flyte):
        self._broker = broker
        self._flyte = flyte
        # The task whose secrets are in place, so that a subclass that calls super().execute() does not ask twice.
        self._task = contextvars.ContextVar("flyte_local_task", default=None)

    def provide(self, request, task=None):
        """Asks for what `request`, the `secrets=` of an environment or a task, declares.

        With a task, a secret that cannot be had raises; without one, it is passed over until a task needs it.
        """
        if not request or (task is None and self._broker.is_forked()):
            return
        if isinstance(request, (str, self._flyte.Secret)):
            request = [request]
        declared = [self._flyte.Secret(key=s) if isinstance(s, str) else s for s in request]
        reply = self._broker.ask(
            "secrets",
            task=task,
            secrets=[{"key": s.key, "group": s.group, "variable": s.as_env_var} for s in declared],
        )
        if "error" in reply:
            raise secret_error(self._flyte, reply["error"])
        os.environ.update(reply["variables"])

    def hook_environments(self):
        declare = self._flyte.Environment.__post_init__

        @functools.wraps(declare)
        def declared(environment):
            declare(environment)
            self.provide(environment.secrets)

        self._flyte.Environment.__post_init__ = declared

    def hook_tasks(self):
        """Wraps `execute` of every task class there is, and of each that is defined later (a plugin's, for one)."""
        template = self._flyte.extend.TaskTemplate
        own = template.__dict__.get("__init_subclass__")

        def init_subclass(cls, **keywords):
            if own is None:
                super(template, cls).__init_subclass__(**keywords)
            else:
                own.__get__(None, cls)(**keywords)
            self._wrap_execute(cls)

        template.__init_subclass__ = classmethod(init_subclass)
        classes = [template]
        while classes:
            cls = classes.pop()
            classes.extend(cls.__subclasses__())
            self._wrap_execute(cls)

    def _wrap_execute(self, cls):
        execute = cls.__dict__.get("execute")
        if execute is None:
            return

        @functools.wraps(execute)
        async def execute_with_secrets(task, *args, **kwargs):
            if self._task.get() is not task:
                self.provide(task.secrets, task.name)
            token = self._task.set(task)
            try:
                return await execute(task, *args, **kwargs)
            finally:
                self._task.reset(token)

        cls.execute = execute_with_secrets


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


def has_main_block(path):
    """Whether the file has an `if __name__ == "__main__":` at its top level."""
    with open(path, "rb") as source:
        try:
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
    from flyte.cli.main import main

    hook_choice(broker, path)
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
    hints = [f"name one: flyte-local run {path} {sorted(own or tasks)[0]}"]
    if has_main_block(path):
        hints.append(f"arguments of its __main__ block stand after --: flyte-local run {path} -- {wanted}")
    broker.fail(f"{message}; its tasks are {', '.join(sorted(tasks))}", *hints, code=2)


def hide_own_frames():
    """Shows the user's traceback from the user's first frame on."""
    show = sys.excepthook

    def excepthook(kind, error, traceback):
        while traceback and traceback.tb_frame.f_code.co_filename in ("<string>", "<flyte-local>"):
            traceback = traceback.tb_next
        show(kind, error.with_traceback(traceback), traceback)

    sys.excepthook = excepthook


def start():
    broker = Broker(SOCKET)
    die_with(PARENT)
    flyte = import_sdk(broker)
    hide_own_frames()
    secrets = Secrets(broker, flyte)
    secrets.hook_environments()
    secrets.hook_tasks()
    stay_local(broker, flyte)
    configured = flyte.config.auto().task
    try:
        report_scope(broker, configured.project, configured.domain)
    except ValueError as error:
        broker.fail(str(error))

    arguments = JOB["arguments"]
    if JOB["mode"] == "module":
        run_module(JOB["module"], arguments)
        return
    path = JOB["file"]
    if arguments and not arguments[0].startswith("-"):
        run_task(broker, path, arguments, JOB)
    elif has_main_block(path):
        run_script(path, arguments[1:] if arguments[:1] == ["--"] else arguments)
    else:
        run_task(broker, path, [CHOOSE, *arguments], JOB)


start()
