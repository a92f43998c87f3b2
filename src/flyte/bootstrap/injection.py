"""Puts declared secrets where the declaration says, when an environment is declared and when a task executes."""

import contextvars
import functools
import os


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
