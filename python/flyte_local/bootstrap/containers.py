"""Gives the container of a `ContainerTask` what its task declares, through the client library that the SDK uses.

Files come by a read-only bind of a directory in memory, which flyte-local makes for one container. Variables come by a file
there too, which a shell in the container reads before it becomes the program. As variables of the container itself, the
daemon would write them to its disk, and show them to everyone who may call it (`docker inspect`).
"""

from __future__ import annotations

import atexit
import contextlib
import contextvars
import functools
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from . import views
from .errors import secret_error

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .broker import Broker
    from .sdk import Sdk, Task

# The directory of file secrets, in the container as on a cluster.
DIRECTORY = "/etc/flyte/secrets"

# The file of variables in the container, and the shell that reads it.
VARIABLES = "/run/flyte-local-variables"
SHELL = "/bin/sh"
SCRIPT = f'. {VARIABLES} && exec "$@"'

# The variable that names the directory of file secrets; in the run, that may be another one.
DIRECTORY_MARKER = "FLYTE_SECRETS_DEFAULT_DIR"


@dataclass
class Loans:
    """What one execution of a task has lent to its containers."""

    directories: list[str] = field(default_factory=list)
    containers: list[Any] = field(default_factory=list)
    # The keys of the secrets that are variables.
    variables: list[str] = field(default_factory=list)


# The loans of the execution under way.
current: contextvars.ContextVar[Loans | None] = contextvars.ContextVar("flyte_local_loans", default=None)


def is_container_task(task: object) -> bool:
    # Without this module, there is no such task.
    extras = sys.modules.get("flyte.extras")
    return extras is not None and isinstance(task, extras.ContainerTask)


def as_mapping(environment: Mapping[str, Any] | Sequence[str] | None) -> dict[str, Any]:
    """Returns the variables that a caller gives a container, which may be lines of the form `NAME=VALUE`."""
    if environment is None or isinstance(environment, (list, tuple)):
        return dict(line.partition("=")[::2] for line in environment or ())
    return dict(environment)  # type: ignore[arg-type]


def as_words(command: str | Sequence[str] | None) -> list[str]:
    """Returns the words of a command, which a caller may give as one text."""
    if isinstance(command, str):
        from docker.utils import split_command

        words: list[str] = split_command(command)
        return words
    return list(command or ())


class Containers:
    """Hooks the client library once a task needs it."""

    def __init__(self, broker: Broker, flyte: Sdk) -> None:
        self._broker = broker
        self._flyte = flyte
        self._hooked = False
        self._live: list[Any] = []

    @contextlib.contextmanager
    def of(self, task: Task) -> Iterator[None]:
        """Gives secrets to the containers that the task starts meanwhile, if it is a `ContainerTask`."""
        if not is_container_task(task):
            yield
            return
        self._hook()
        loans = Loans()
        token = current.set(loans)
        try:
            yield
        except Exception as error:
            explained = self._explained(task, error, loans)
            if explained is None:
                raise
            self._end(loans.containers)
            raise explained from error
        except BaseException:
            self._end(loans.containers)
            raise
        finally:
            current.reset(token)
            for container in loans.containers:
                self._live.remove(container)
            for directory in loans.directories:
                self._broker.ask({"op": "give_back", "directory": directory})

    def _hook(self) -> None:
        if self._hooked:
            return
        try:
            from docker.models.containers import ContainerCollection
        except ImportError:
            return  # The SDK says so.
        self._hooked = True
        # A container is a process of the daemon, so the end of this process does not end it.
        atexit.register(lambda: self._end(self._live))
        create = ContainerCollection.create

        @functools.wraps(create)
        def create_with_secrets(collection: Any, image: Any, command: Any = None, **options: Any) -> Any:
            loans, view = current.get(), views.current.get()
            if loans is None or view is None or not is_container_task(view.task):
                return create(collection, image, command, **options)
            command = self._prepare(view, loans, collection.client, image, command, options)
            container = create(collection, image, command, **options)
            loans.containers.append(container)
            self._live.append(container)
            return container

        ContainerCollection.create = create_with_secrets

    def _prepare(self, view: views.View, loans: Loans, client: Any, image: Any, command: Any, options: dict[str, Any]) -> Any:
        """Adds to the options of a container what the task declares, and returns its command."""
        from docker.types import Mount

        from .injection import as_secrets, described  # That module imports this one.

        task = view.task
        declared = as_secrets(self._flyte, task.secrets)
        files = [described(secret) for secret in declared if not secret.as_env_var]
        values = {s.as_env_var: view.get(views.encoded(s.as_env_var)) for s in declared if s.as_env_var}
        variables = {name: value.decode("latin-1") for name, value in values.items() if value is not None}
        decode_name, decode = views.environ.decodekey, views.environ.decodevalue
        own = {decode_name(name): decode(value) for name, value in view.secrets.items()}
        markers = {name: value for name, value in own.items() if name.startswith(views.MARKERS)}
        if DIRECTORY_MARKER in markers:
            markers[DIRECTORY_MARKER] = DIRECTORY
        plain = {decode_name(name): decode(value) for name, value in view.plain.items()}
        plain = {**plain, **as_mapping(options.get("environment")), **markers}
        if plain:
            options["environment"] = {name: value for name, value in plain.items() if name not in variables}
        if not files and not variables:
            return command
        if variables:
            given = options.get("entrypoint")
            # Raises, as the creation of the container would, if there is no such image: the caller pulls it then.
            config = client.images.get(getattr(image, "id", image)).attrs["Config"]
            entrypoint = as_words(given) or config.get("Entrypoint") or []
            arguments = as_words(command) or ([] if given else config.get("Cmd") or [])
            if program := [*entrypoint, *arguments]:
                options["entrypoint"] = [SHELL, "-c", SCRIPT, "flyte-local"]
                command = program
        reply = self._broker.ask({"op": "container", "task": task.name, "secrets": files, "variables": variables})
        if "error" in reply:
            raise secret_error(self._flyte, reply["error"])
        directory = reply["directory"]
        loans.directories.append(directory)
        loans.variables = [secret.key for secret in declared if secret.as_env_var in variables]
        mounts = list(options.get("mounts") or ())
        # A bind as a `volume` would have the daemon make the directory where it does not see ours.
        if files:
            mounts.append(Mount(DIRECTORY, f"{directory}/files", type="bind", read_only=True))
        if variables:
            mounts.append(Mount(VARIABLES, f"{directory}/variables", type="bind", read_only=True))
        options["mounts"] = mounts
        return command

    def _explained(self, task: Task, error: Exception, loans: Loans) -> Exception | None:
        """Returns the error that says what the daemon's own does not, if there is one."""
        docker = sys.modules.get("docker")
        if docker is None or not isinstance(error, docker.errors.APIError):
            return None
        words = str(error)
        for directory in loans.directories:
            if directory in words:
                return secret_error(
                    self._flyte,
                    f"task {task.name}: the Docker daemon does not see {directory}, which has the secrets of its container: "
                    "it runs on another machine, or in a virtual machine\n"
                    "hint: use a daemon of this machine: see docker context ls, and DOCKER_HOST",
                )
        if loans.variables and SHELL in words:
            return secret_error(
                self._flyte,
                f"task {task.name}: its image has no {SHELL}, which sets the variables of its secrets in the container\n"
                f'hint: declare them as files: flyte.Secret(key="{loans.variables[0]}", mount="{DIRECTORY}")',
            )
        return None

    def _end(self, containers: list[Any]) -> None:
        for container in list(containers):
            # The daemon may be gone, or the container.
            with contextlib.suppress(Exception):
                container.remove(force=True)
