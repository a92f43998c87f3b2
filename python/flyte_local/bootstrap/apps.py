"""Gives each app that is served on this machine its own secrets, as its pod has them on a cluster."""

from __future__ import annotations

import atexit
import concurrent.futures.thread
import contextlib
import copy
import functools
import os
import socket
import sys
import threading
import time
import urllib.parse
from typing import TYPE_CHECKING, Any

from . import children, views
from .env_vars import plain_variables
from .errors import show_secret_error

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .broker import Broker
    from .injection import Secrets
    from .sdk import App, AppHandle, Sdk, Server

# Seconds between two looks at whether an app listens, or has ended.
INTERVAL = 0.1

SEARCH_PATH = b"PYTHONPATH"


class AppView(views.View):
    """An app that is served.

    Python processes that it starts do not join the run: they would get the secrets of every environment that they declare,
    and in the app's pod they have those of the app.
    """

    children_join = False

    def __init__(self, app: App, who: str, secrets: Mapping[bytes, bytes], variables: Mapping[str, str]) -> None:
        search_path = children.uninvited(os.environ.get("PYTHONPATH", ""))
        plain = {SEARCH_PATH: views.environ.encodevalue(search_path), **plain_variables(variables, who)}
        super().__init__(app, who, None, secrets, plain)
        if not plain[SEARCH_PATH]:
            self.written[SEARCH_PATH] = None

    def owns(self, thread: threading.Thread, is_the_users: bool) -> bool:
        """Returns whether a thread that the app starts runs as the app: each does, as a server's threads for requests.

        A pool's does not, because tasks may use the pool too. Each call that it gets runs as its caller.
        """
        return getattr(thread, "_target", None) is not concurrent.futures.thread._worker


@contextlib.contextmanager
def own_parameters(view: AppView, app: App) -> Iterator[None]:
    """Gives an app the variables of its parameters, which the SDK sets in the process, and gives the process its own back."""
    names = [views.encoded(parameter.env_var) for parameter in app.parameters if parameter.env_var]
    # The SDK sets each of them as the app, which has precedence.
    view.plain = {**view.plain, **dict.fromkeys(names, b"")}
    before = {name: views.variables_of_process().get(name) for name in names}
    try:
        yield
    finally:
        for name, value in before.items():
            views.put(name, value)


class Apps:
    """Serves each app with its own secrets."""

    def __init__(self, secrets: Secrets, flyte: Sdk) -> None:
        self._secrets = secrets
        self._flyte = flyte
        self._served: list[AppHandle] = []

    def hook(self) -> None:
        """Wraps the method through which every way to serve an app on this machine goes."""
        # Its class has no public name.
        server = type(self._flyte.with_servecontext(mode="local"))
        serve_local = server._serve_local

        @functools.wraps(serve_local)
        def serve_with_secrets(self_: Server, app: App) -> AppHandle:
            who = f"app {app.name}"
            own, _ = self._secrets.provide(app.secrets, needed_by=who, holder=f"environment {app.name}")
            variables = self_._env_vars
            view = AppView(app, who, own, {**(app.env_vars or {}), **variables})
            # The SDK would set these in the process, for every app and task. The app can be served again with the copy.
            self_ = copy.copy(self_)
            self_._env_vars = {}
            with view, own_parameters(view, app):
                handle: AppHandle = serve_local(self_, app)
            self_._env_vars = variables
            self._served.append(handle)
            # Registered each time, to come before the SDK's own, which ends its apps.
            atexit.register(self._report_end)
            return handle

        server._serve_local = serve_with_secrets

    def _report_end(self) -> None:
        """Reports the apps that end only because the process does. On a cluster they would stay."""
        for handle in self._served:
            if not handle.is_deactivated():
                line = f"app {handle.name} at {handle.endpoint} ends with this run; on a cluster, it would stay"
                views.say_once(line, about=("served", handle.name))
        self._served.clear()


def apps_of(flyte: Sdk, path: str) -> dict[str, App]:
    """Returns the apps of a file that the SDK's own command has imported, by the names they have there."""
    module = sys.modules.get(os.path.splitext(os.path.basename(path))[0])
    kind = getattr(sys.modules.get("flyte.app"), "AppEnvironment", None)
    if kind is None or module is None:
        return {}
    return {name: value for name, value in vars(module).items() if isinstance(value, kind)}


def app_named(apps: Mapping[str, App], wanted: str) -> App | None:
    """Returns the app that has this name in the file, or on a cluster."""
    return apps.get(wanted) or next((app for app in apps.values() if app.name == wanted), None)


def listens(host: str | None, port: int | None) -> bool:
    try:
        socket.create_connection((host or "localhost", port or 0), timeout=1).close()
    except OSError:
        return False
    return True


def serve_until_interrupted(broker: Broker, flyte: Sdk, app: App) -> None:
    """Serves an app until Ctrl-C, and prints where."""
    port: Any = getattr(app.port, "port", app.port)
    if listens("localhost", port):
        broker.fail(f"app {app.name} cannot listen on port {port} of localhost: another program does")
    try:
        handle = flyte.with_servecontext(mode="local").serve(app)
    except Exception as error:
        if show_secret_error(flyte, error):
            sys.exit(1)
        raise
    address = urllib.parse.urlsplit(handle.endpoint)
    try:
        while not (was_ended := handle.is_deactivated()) and not listens(address.hostname, address.port):
            time.sleep(INTERVAL)
        if not was_ended:
            sys.stderr.write(f"flyte-local: app {app.name} is served at {handle.endpoint} until Ctrl-C\n")
        while not handle.is_deactivated():
            time.sleep(INTERVAL)
    except KeyboardInterrupt:
        handle.deactivate(wait=True)
        sys.exit(0)
    broker.fail(f"app {app.name} ended by itself")
