"""Gives the builder of an image, on this machine, the secrets that the image's layers mount while they are built.

The SDK's builder looks for a variable that it names itself, `GROUP_KEY`, or for a file in `/etc/secrets`, and tells Docker
where each secret is. The variables are those of the build alone: other code of the run does not see them, nor do its programs.
A value that no variable can hold is a file in memory, which Docker reads in the variable's place.
"""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from . import processes, threads, views
from .errors import secret_error
from .injection import as_secrets, described
from .subclasses import visit_subclasses

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from . import messages
    from .broker import Broker
    from .sdk import Sdk, Task

# The directory in which the SDK's builder looks for a file, if there is no variable.
HOST_FILES = "/etc/secrets"

# The builder that hands the build over to a cluster.
REMOTE = "RemoteImageBuilder"


class Mounted(NamedTuple):
    """A secret that a layer of an image mounts; like a `flyte.Secret`, with the variable that the builder looks for."""

    key: str
    group: str | None
    as_env_var: str
    image: str


def mounted(flyte: Sdk, image: Any) -> list[Mounted]:
    """Returns the secrets that the layers of an image mount, each once. `image` may be anything that is not an image."""
    found: dict[tuple[str | None, str], Mounted] = {}
    for layer in getattr(image, "_layers", ()):
        for secret in as_secrets(flyte, getattr(layer, "secret_mounts", None)):
            name = "_".join(part.upper() for part in (secret.group, secret.key) if part)
            found.setdefault((secret.group, secret.key), Mounted(secret.key, secret.group, name, in_words(image)))
    return list(found.values())


def in_words(image: Any) -> str:
    """Returns the name of an image, without its registry and its tag."""
    return str(getattr(image, "name", None) or getattr(image, "base_image", None) or "without a name")


def host_file(secret: Mounted) -> str:
    return f"{HOST_FILES}/{'_'.join(part for part in (secret.group, secret.key) if part)}"


class BuildView(views.View):
    """The build of one image: what its builder and the programs that it starts see."""

    def __init__(self, image: Any, secrets: messages.BuildSecrets) -> None:
        variables = {views.encoded(name): views.environ.encodevalue(value) for name, value in secrets["variables"].items()}
        # The builder only looks whether the variable is there.
        variables.update((views.encoded(name), path.encode()) for name, path in secrets["files"].items())
        variables.update((name, views.SHELL[name]) for name in map(views.encoded, secrets["shell"]))
        super().__init__(cast("Task", image), f"image {in_words(image)}", None, {}, variables)
        self.files = secrets["files"]


def with_files(command: Any, files: dict[str, str]) -> Any:
    """Returns a command of Docker that reads these files, by variable, in place of variables."""
    if not isinstance(command, (list, tuple)):
        return command

    def changed(argument: Any) -> Any:
        start, found, name = argument.partition(",env=") if isinstance(argument, str) else ("", "", "")
        return f"{start},src={files[name]}" if found and start.startswith("id=") and name in files else argument

    return [changed(argument) for argument in command]


def hook_builds(broker: Broker, flyte: Sdk) -> None:
    """Places the hooks on builds of images, in a process whose tasks get no secrets."""
    views.install(share=False)
    processes.install()
    threads.install()
    Builds(broker, flyte).hook()


class Builds:
    """Hooks the classes that build images."""

    def __init__(self, broker: Broker, flyte: Sdk) -> None:
        self._broker = broker
        self._flyte = flyte
        self._starts_with_files = False

    def hook(self) -> None:
        visit_subclasses(self._flyte.extend.ImageBuilder, self._wrap)

    def _wrap(self, cls: type) -> None:
        if "build_image" in cls.__dict__ and cls.__name__ != REMOTE:
            setattr(cls, "build_image", self._wrapped(cls.__dict__["build_image"]))

    def _wrapped(self, build: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        @functools.wraps(build)
        async def build_with_secrets(builder: Any, image: Any, *args: Any, **options: Any) -> Any:
            view = views.current.get()
            if isinstance(view, BuildView) and view.is_of(image, None):  # A subclass calls super().build_image().
                return await build(builder, image, *args, **options)
            self._report_registry(image)
            with self._secrets_of(image, stays=options.get("wait") is False):
                return await build(builder, image, *args, **options)

        return build_with_secrets

    def _report_registry(self, image: Any) -> None:
        secret = getattr(image, "_image_registry_secret", None)
        if secret is not None:
            views.say_once(
                f"image {in_words(image)}: a local build does not use the registry secret {secret.key}: Docker pulls and "
                "pushes with its own login (docker login)",
                about=("registry", secret.key, in_words(image)),
            )

    @contextlib.contextmanager
    def _secrets_of(self, image: Any, stays: bool) -> Iterator[None]:
        """Gives the build of an image its secrets. With `stays`, it goes on after it returned, so a file stays for the run."""
        wanted = mounted(self._flyte, image)
        if not wanted:
            yield
            return
        secrets = self._ask(image, wanted)
        if secrets["files"]:
            self._start_with_files()
        try:
            with BuildView(image, secrets):
                yield
        finally:
            if secrets["directory"] and not stays:
                self._broker.ask({"op": "give_back", "directory": secrets["directory"]})

    def _ask(self, image: Any, wanted: Sequence[Mounted]) -> messages.BuildSecrets:
        who = f"image {in_words(image)}"
        declared = [described(secret) for secret in wanted]
        reply = self._broker.ask({"op": "build", "needed_by": who, "secrets": declared})
        if "error" in reply:
            raise secret_error(self._flyte, reply["error"])
        for index, why in zip(reply["missing"], reply["why_missing"]):
            # The builder finds a file that the user put there.
            if not os.path.exists(host_file(wanted[index])):
                raise secret_error(self._flyte, f"{who}: {why}")
        for note in reply["notes"]:
            views.say_once(note, about=note)
        for secret in wanted:
            self._report_shell(secret, reply)
        return reply

    def _report_shell(self, secret: Mounted, reply: messages.BuildSecrets) -> None:
        name = secret.as_env_var
        before = views.SHELL.get(views.encoded(name))
        if before is None:
            return
        if name in reply["shell"]:
            line = f"secret {secret.key} does not exist in this run's scopes: {name} is what the shell has there"
            views.say_once(line, about=("shell", name))
        elif name in reply["files"] or before != views.environ.encodevalue(reply["variables"].get(name, "")):
            views.say_once(f"{name} of the shell is replaced by secret {secret.key}", about=("shell", name))

    def _start_with_files(self) -> None:
        """Has the programs of a build read files in place of variables."""
        if self._starts_with_files:
            return
        self._starts_with_files = True
        start: Callable[..., None] = subprocess.Popen.__init__

        @functools.wraps(start)
        def start_with_files(process: Any, args: Any, *others: Any, **options: Any) -> None:
            view = views.current.get()
            start(process, with_files(args, view.files) if isinstance(view, BuildView) else args, *others, **options)

        setattr(subprocess.Popen, "__init__", start_with_files)
