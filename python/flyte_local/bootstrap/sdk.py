"""The part of the Flyte SDK that the bootstrap uses, for the checker: the SDK need not be installed to check this package."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol


class Secret(Protocol):
    """`flyte.Secret`."""

    @property
    def key(self) -> str: ...

    @property
    def group(self) -> str | None: ...

    @property
    def as_env_var(self) -> str | None: ...


# The value of `secrets=`.
SecretRequest = str | Secret | Sequence[str | Secret] | None


class Environment(Protocol):
    """`flyte.Environment`."""

    name: str
    secrets: SecretRequest
    depends_on: Sequence["Environment"]


class Interface(Protocol):
    @property
    def inputs(self) -> Mapping[str, tuple[type, Any]]: ...

    @property
    def outputs(self) -> Mapping[str, Any]: ...


class Task(Protocol):
    """`flyte.extend.TaskTemplate`."""

    name: str
    secrets: SecretRequest
    env_vars: Mapping[str, str] | None
    native_interface: Interface
    parent_env: Callable[[], Environment | None] | None

    def custom_config(self, sctx: Any) -> Any: ...


class App(Environment, Protocol):
    """`flyte.app.AppEnvironment`."""

    env_vars: Mapping[str, str] | None
    parameters: Sequence["Parameter"]
    port: Any


class Parameter(Protocol):
    """`flyte.app.Parameter`."""

    env_var: str | None


class AppHandle(Protocol):
    """An app that is served, as `flyte.AppHandle`."""

    @property
    def name(self) -> str: ...

    @property
    def endpoint(self) -> str: ...

    def is_deactivated(self) -> bool: ...

    def deactivate(self, wait: bool = False) -> Any: ...


class Server(Protocol):
    """What `flyte.with_servecontext` returns."""

    _env_vars: dict[str, str]


class StoragePath(Protocol):
    path: str


class Context(Protocol):
    """The execution under way, as `flyte.ctx` returns it."""

    action: object
    run_base_dir: str
    raw_data_path: StoragePath


class TaskSettings(Protocol):
    project: str | None
    domain: str | None


class Config(Protocol):
    source: Path | None
    task: TaskSettings


class ConfigModule(Protocol):
    def auto(self) -> Config: ...


class Extend(Protocol):
    TaskTemplate: Any  # Its methods are replaced, as are those of the next one.
    ImageBuilder: Any


class Syncified(Protocol):
    """A function that can be called with and without `await`."""

    fn: Callable[..., Any]


class Sdk(Protocol):
    """The module `flyte`."""

    Environment: Any  # Its `__post_init__` is replaced.
    Secret: Any
    config: ConfigModule
    errors: ModuleType
    extend: Extend
    deploy: Syncified
    init: Syncified
    init_from_api_key: Syncified
    trace: Callable[..., Any]
    with_runcontext: Callable[..., Any]
    with_servecontext: Callable[..., Any]

    def ctx(self) -> Context | None: ...


class Group(Protocol):
    """The command group of one file, of the SDK's own command."""

    @property
    def objs(self) -> dict[str, Any]: ...

    def list_commands(self, context: Any) -> Iterable[str]: ...
