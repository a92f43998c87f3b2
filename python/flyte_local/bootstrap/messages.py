"""The messages between the bootstrap and flyte-local: one JSON object a line, each request answered by one reply.

Types alone, for the checker. A test compares them with the types in `src/flyte/` that flyte-local reads and writes.
"""

from typing import Literal, TypedDict, final


class Declared(TypedDict):
    """A secret that a file declares. `parameter` is that of a connector, which is to get it."""

    key: str
    group: str | None
    variable: str | None
    parameter: str | None
    image: str | None
    shell: bool


class Surveyed(TypedDict):
    """The secrets that one environment of a file declares, or one task of it."""

    environment: str
    task: str | None
    secrets: list[Declared]


# Requests of a run


class Hello(TypedDict):
    """The first request, which says which Python this is. `src/flyte/bootstrap.rs` makes it."""

    op: Literal["hello"]
    python: tuple[int, int, int]


class Scope(TypedDict):
    """What Flyte's configuration names. `unfit` has the kind of each value that cannot be text, in words: `a list`."""

    op: Literal["scope"]
    project: str | None
    domain: str | None
    unfit: dict[str, str]


class Join(TypedDict):
    """The first request of a process that joins the run. Each character stands for the byte of its number."""

    op: Literal["join"]
    variables: dict[str, str]


class Secrets(TypedDict):
    """Asks for secrets. `needed_by` says in words what is about to use them; None if nothing is yet."""

    op: Literal["secrets"]
    needed_by: str | None
    secrets: list[Declared]


class Survey(TypedDict):
    op: Literal["survey"]
    declared: list[Surveyed]


class LacksSdk(TypedDict):
    op: Literal["lacks_sdk"]
    python: str


class Keeps(TypedDict):
    op: Literal["keeps"]
    directories: list[str]


class Forms(TypedDict):
    """Asks for the forms of a value. Each character stands for the byte of its number."""

    op: Literal["forms"]
    value: str


class Container(TypedDict):
    """Asks for a directory that a container can be given. In `variables`, each character stands for the byte of its number."""

    op: Literal["container"]
    task: str
    secrets: list[Declared]
    variables: dict[str, str]


class Build(TypedDict):
    """Asks for the secrets of an image's build, each by the variable that the builder looks for."""

    op: Literal["build"]
    needed_by: str
    secrets: list[Declared]


class GiveBack(TypedDict):
    op: Literal["give_back"]
    directory: str


class Fail(TypedDict):
    op: Literal["fail"]
    message: str
    hints: list[str]
    code: int


Request = Hello | Scope | Join | Secrets | Survey | LacksSdk | Keeps | Forms | Container | Build | GiveBack | Fail


# Replies to a run


class FileJob(TypedDict):
    """Runs a file: its `__main__` block, or a task of it."""

    mode: Literal["file"]
    file: str
    arguments: list[str]
    project: str | None
    domain: str | None


class SurveyJob(TypedDict):
    """Imports a file to see what it declares."""

    mode: Literal["survey"]
    file: str
    task: str | None
    project: str | None
    domain: str | None


class CommandJob(TypedDict):
    """Runs Flyte's own command."""

    mode: Literal["command"]
    arguments: list[str]


class ModuleJob(TypedDict):
    """Runs a module, as `python -m` does."""

    mode: Literal["module"]
    module: str
    arguments: list[str]


Job = FileJob | SurveyJob | CommandJob | ModuleJob

Leaks = Literal["warn", "deny", "off"]


class Settings(TypedDict):
    command: str
    shared_secrets: bool
    leaks: Leaks | None
    secrets_directory: str | None
    left_out: list[str]


@final
class Start(TypedDict):
    load: str
    modules: list[tuple[str, str]]
    job: Job
    settings: Settings
    parent: int
    join: str | None


class FromRun(TypedDict):
    """A variable of a process that joins, whose value the run gave it. A variable beside a secret has no key."""

    variable: str
    key: str | None
    group: str | None


@final
class Joined(TypedDict):
    """The variables that the run gave, and the names of others that differ from those of the shell."""

    modules: list[tuple[str, str]]
    settings: Settings
    from_run: list[FromRun]
    changed: list[str]


@final
class Done(TypedDict):
    pass


@final
class Provided(TypedDict):
    variables: dict[str, str]
    shell: list[str]
    missing: list[int]
    why_missing: list[str]
    notes: list[str]


@final
class FormsOfValue(TypedDict):
    forms: list[str]


@final
class Lent(TypedDict):
    directory: str


@final
class BuildSecrets(TypedDict):
    """The values of variables, and by variable the files of values that no variable can hold, which are in `directory`."""

    variables: dict[str, str]
    files: dict[str, str]
    directory: str | None
    shell: list[str]
    missing: list[int]
    why_missing: list[str]
    notes: list[str]


@final
class Refused(TypedDict):
    error: str


@final
class Invalid(TypedDict):
    """The request was not understood, for a reason in words."""

    invalid: str


Reply = Start | Joined | Done | Provided | FormsOfValue | Lent | BuildSecrets | Refused | Invalid


# Between the first interpreter of a run and a worker of its tests


class Bequest(TypedDict):
    """The variables of the shell, and those that code outside tasks has set or deleted (None)."""

    shell: dict[str, str]
    set_outside: dict[str, str | None]


class WorkerStart(TypedDict):
    modules: list[tuple[str, str]]
    settings: Settings
    parent: int
    variables: Bequest


# A push, in which flyte-local asks and the bootstrap answers


class Target(TypedDict):
    """The cluster, as far as options name it."""

    config: str | None
    endpoint: str | None
    insecure: bool
    cluster_pool: str | None


class PushStart(TypedDict):
    modules: list[tuple[str, str]]
    target: Target
    parent: int


SecretType = Literal["regular", "image_pull"]


class PushRequest(TypedDict):
    op: Literal["look", "create", "update"]
    index: int
    name: str
    project: str
    domain: str
    type: SecretType | None
    value: str | None


class About(TypedDict):
    """The cluster that the SDK found."""

    endpoint: str
    organization: str | None
    config: str | None


class Connected(About):
    op: Literal["connected"]


class Failed(TypedDict):
    op: Literal["failed"]
    code: str | None
    message: str
    python: str


class Answered(TypedDict):
    op: Literal["done"]
    index: int
    found: SecretType | None
    code: str | None
    message: str | None


PushReply = Hello | Failed | Connected | Answered
