"""Imports a file as the SDK's own command does, executes nothing of it, and reports what it declares."""

from __future__ import annotations

import functools
import os
import sys
from typing import TYPE_CHECKING, Any, cast

from . import connectors
from .apps import apps_of
from .builds import mounted
from .injection import as_secrets, described, scanned
from .modes import choose_app, choose_task, run_command

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import click

    from .broker import Broker
    from .messages import Declared, Surveyed, SurveyJob
    from .sdk import App, Environment, Group, Sdk, SecretRequest, Task


def survey(broker: Broker, flyte: Sdk, job: SurveyJob) -> None:
    import click

    # Standard output is flyte-local's, for the report; the output of the file while it is imported is talk.
    os.dup2(2, 1)
    environments = collect_environments(flyte)
    forbid_execution(flyte)
    path, wanted = job["file"], job["task"]
    if not path.endswith(".py"):
        broker.fail(f"a dry run reads files whose names end in .py, and {path} does not", "rename it, or copy it")
    resolve = click.Group.resolve_command

    @functools.wraps(resolve)
    def resolve_command(self: click.Group, context: click.Context, arguments: list[str]) -> Any:
        if not hasattr(type(self), "objs"):
            return resolve(self, context, arguments)
        try:
            tasks = import_tasks(cast("Group", self))
        except BaseException as error:
            if isinstance(error, SystemExit) and not error.code:
                broker.fail(f"{path} exited while it was imported")
            # A missing secret may be why it failed, above the line that declares it.
            declared = declared_in_file(flyte, environments, {})
            broker.ask({"op": "survey", "declared": [*declared, *not_reached(declared)]})
            raise
        if wanted is None:
            declared = declared_in_file(flyte, environments, tasks)
        elif wanted not in tasks and (app := choose_app(broker, path, tasks, apps_of(flyte, path), [wanted])):
            declared = needed_by_app(flyte, app)
        else:
            if wanted not in tasks:
                choose_task(broker, path, tasks, apps_of(flyte, path), wanted)
            declared = needed_by_task(flyte, tasks[wanted], wanted)
        broker.ask({"op": "survey", "declared": declared})
        sys.exit(0)

    setattr(click.Group, "resolve_command", resolve_command)
    run_command(path, [wanted or "<the whole file>"], job["project"], job["domain"])


def collect_environments(flyte: Sdk) -> list[Environment]:
    """Returns a list to which each environment is added when it is declared."""
    environments: list[Environment] = []
    declare = flyte.Environment.__post_init__

    @functools.wraps(declare)
    def declared(environment: Environment) -> None:
        declare(environment)
        if not any(environment is other for other in environments):
            environments.append(environment)

    flyte.Environment.__post_init__ = declared
    return environments


def forbid_execution(flyte: Sdk) -> None:
    """Lets no task execute, should the file run one while it is imported."""

    async def execute(task: Task, *args: Any, **kwargs: Any) -> None:
        message = f"a dry run executes no task, and {task.name} was run while its file was imported"
        raise flyte.errors.RuntimeUserError("DryRun", f"{message}: run it below `if __name__ == '__main__':`")

    classes = [flyte.extend.TaskTemplate]
    while classes:
        cls = classes.pop()
        classes.extend(cls.__subclasses__())
        if "execute" in cls.__dict__:
            cls.execute = execute


def import_tasks(group: Group) -> dict[str, Task]:
    """Returns the tasks of the file, by name, once the SDK has imported it."""
    import click

    try:
        return group.objs
    except click.ClickException as error:
        # The SDK's words, on every version, for a file that was imported and has no task: one with apps alone.
        if error.message.startswith("No objects found in "):
            return {}
        raise


def declared_in_file(flyte: Sdk, environments: list[Environment], tasks: Mapping[str, Task]) -> list[Surveyed]:
    """Returns what each environment declares, and each task that has other secrets than its environment."""
    found: list[Surveyed] = []
    for environment in environments:
        secrets = declarations(flyte, environment.secrets)
        images = image_mounts(flyte, environment)
        found.append({"environment": environment.name, "task": None, "secrets": [*secrets, *images]})
        for name, task in tasks_of(environment, tasks):
            found += declared_by_task(flyte, environment.name, name, task, secrets)
    for name, task in tasks.items():
        if environment_of(task) is None:
            found += declared_by_task(flyte, "", name, task, [])
    return found


def declared_by_task(flyte: Sdk, environment: str, name: str, task: Task, of_environment: list[Declared]) -> Iterator[Surveyed]:
    """Yields what a task declares that its environment does not."""
    secrets, connector = declarations(flyte, task.secrets), connector_parameters(flyte, task)
    if connector or secrets != of_environment:
        own = secrets if secrets != of_environment else []
        yield {"environment": environment, "task": name, "secrets": [*own, *connector]}


def not_reached(declared: list[Surveyed]) -> list[Surveyed]:
    """Returns what the code would have declared further on, as far as reading it shows; not which environment declares it."""
    known = [secret for found in declared for secret in found["secrets"]]
    secrets: list[Declared] = []
    for secret in map(described, scanned):
        if secret not in known and secret not in secrets:
            secrets.append(secret)
    return [{"environment": "?", "task": None, "secrets": secrets}] if secrets else []


def tasks_of(environment: Environment, tasks: Mapping[str, Task]) -> list[tuple[str, Task]]:
    """Returns the environment's tasks by name: those the file names, overrides among them, and those it does not."""
    named = [(name, task) for name, task in tasks.items() if environment_of(task) is environment]
    known = [task for _, task in named]
    others: Mapping[str, Task] = getattr(environment, "tasks", {})
    for name, task in others.items():
        if not any(task is other for other in known):
            named.append((name.rpartition(".")[2], task))
    return named


def needed_by_task(flyte: Sdk, task: Task, name: str) -> list[Surveyed]:
    """Returns what the task declares, and the environments that its own depends on, whose tasks it may call."""
    environment = environment_of(task)
    own_name = environment.name if environment else task.name.rpartition(".")[0]
    images = image_mounts(flyte, environment) if environment else []
    secrets = [*declarations(flyte, task.secrets), *connector_parameters(flyte, task), *images]
    own: Surveyed = {"environment": own_name, "task": name, "secrets": secrets}
    return [own, *needed_by_dependencies(flyte, environment)]


def needed_by_app(flyte: Sdk, app: App) -> list[Surveyed]:
    """Returns what the app declares, and the environments that it depends on."""
    own: Surveyed = {
        "environment": app.name,
        "task": None,
        "secrets": [*declarations(flyte, app.secrets), *image_mounts(flyte, app)],
    }
    return [own, *needed_by_dependencies(flyte, app)]


def needed_by_dependencies(flyte: Sdk, environment: Environment | None) -> list[Surveyed]:
    """Returns what the environments declare that this one depends on, and those that they depend on."""
    found: list[Surveyed] = []
    seen, upcoming = [environment], list(environment.depends_on) if environment else []
    while upcoming:
        other = upcoming.pop(0)
        if not any(other is one for one in seen):
            seen.append(other)
            upcoming.extend(other.depends_on)
            secrets = [*declarations(flyte, other.secrets), *image_mounts(flyte, other)]
            found.append({"environment": other.name, "task": None, "secrets": secrets})
    return found


def declarations(flyte: Sdk, request: SecretRequest) -> list[Declared]:
    return [described(secret) for secret in as_secrets(flyte, request)]


def image_mounts(flyte: Sdk, environment: Environment) -> list[Declared]:
    """Returns the secrets that the environment's image mounts while it is built."""
    return [described(secret) for secret in mounted(flyte, getattr(environment, "image", None))]


def connector_parameters(flyte: Sdk, task: Task) -> list[Declared]:
    declared = as_secrets(flyte, task.secrets)
    return [described(parameter) for parameter in connectors.wanted(flyte, task, declared)]


def environment_of(task: Task) -> Environment | None:
    return task.parent_env() if task.parent_env else None
