"""The part of `flyte-local push` that runs in the user's Python: it calls the cluster through the SDK.

It enters as a subcommand of the SDK's own command does, so that configuration, authentication and TLS are the SDK's, and then
does what flyte-local says over the inherited socket: one JSON object a line each way. Values come over that socket alone, and
nothing here prints. Compiled under the name `<flyte-local>`, so that a traceback shows no line of it.
"""

from __future__ import annotations

import asyncio
import base64
import enum
import json
import logging
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from .broker import die_with

if TYPE_CHECKING:
    from . import messages

# A value of 1 MiB as base64, and the message around it.
LONGEST_LINE = 2 << 20


def start(descriptor: int, start: messages.PushStart) -> NoReturn:
    os.set_inheritable(descriptor, False)
    die_with(start["parent"])
    # Ctrl-C ends both, without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Standard output is flyte-local's, for the table; the SDK's own output, as at a login, is talk.
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    # It would have gRPC print what is sent.
    os.environ.pop("GRPC_TRACE", None)
    connection = socket.socket(fileno=descriptor)
    try:
        cluster, about = connect(start["target"])
    except BaseException as error:
        code, message = explained(error)
        send(connection, {"op": "failed", "code": code, "message": message, "python": sys.executable})
        leave()
    send(connection, {"op": "connected", **about})
    try:
        cluster.serve(connection)
    finally:
        leave()


def send(connection: socket.socket, reply: messages.PushReply) -> None:
    # Parts of it come from the SDK, from a configuration file and from the cluster, which may not keep to their types.
    connection.sendall(json.dumps(reply, default=str).encode() + b"\n")


def leave() -> NoReturn:
    """Ends at once: the SDK's threads and channels, and whatever a signal left, have nothing to say any more."""
    sys.stderr.flush()
    os._exit(0)


def connect(target: messages.Target) -> tuple[Cluster, messages.About]:
    """Finds the cluster that the SDK's configuration and `target` name, and describes it."""
    import flyte  # noqa: F401  Before the imports below it: it tells a Python without a flyte package from one with another.

    try:
        import click
        from flyte._initialize import get_client, get_init_config
        from flyte.cli.main import main
        from flyteidl2.secret import definition_pb2, payload_pb2
    except (ImportError, AttributeError) as error:
        raise UnknownSdkError from error

    entered = []

    @click.command("flyte-local-push")
    @click.pass_obj
    def enter(config: Any) -> None:
        config.init()
        entered.append(config)

    main.add_command(enter)
    arguments = ["flyte-local-push"]
    if target["insecure"]:
        arguments.insert(0, "--insecure")
    for option, value in (("--endpoint", target["endpoint"]), ("--config", target["config"])):
        if value is not None:
            arguments[:0] = [option, value]
    main.main(arguments, prog_name="flyte", standalone_mode=False)
    client, organization = get_client(), get_init_config().org
    source = entered[0].config.source
    about: messages.About = {
        "endpoint": str(client.console.endpoint),
        "organization": None if organization in (None, "") else str(organization),
        "config": str(source.absolute()) if source else None,
    }
    service = client.secrets_service
    if target["cluster_pool"] is not None:
        service = pool_service(service, about["organization"], target["cluster_pool"])
    return Cluster(service, about["organization"], definition_pb2, payload_pb2), about


def pool_service(service: Any, organization: str | None, pool: str) -> Any:
    """Returns the client of the cluster that has this pool, as the SDK's own command finds it."""
    from flyte.syncify import syncify

    resolve = getattr(service, "client_for_cluster_pool", None)
    if resolve is None:
        raise UnknownPoolsError

    async def ask() -> Any:
        return await resolve(organization or "", pool)

    # On the SDK's own event loop, which its connections belong to.
    return syncify(ask)()


class UnknownPoolsError(Exception):
    """The SDK is older than cluster pools."""


class UnknownSdkError(Exception):
    """The flyte package is not a Flyte SDK that flyte-local knows."""


class Cluster:
    """The SDK's client of Flyte's SecretService, the one that `flyte.remote.Secret` has.

    That class takes project and domain from the SDK's one configuration, so that another scope would be another login, and
    it has no update.
    """

    def __init__(self, service: Any, organization: str | None, definitions: Any, payloads: Any) -> None:
        self._organization, self._definitions, self._payloads = organization, definitions, payloads
        # Connect's spelling, and that of gRPC, which older SDKs (2.0) speak.
        self._get = getattr(service, "get_secret", None) or service.GetSecret
        self._create = getattr(service, "create_secret", None) or service.CreateSecret
        self._update = getattr(service, "update_secret", None) or service.UpdateSecret

    def serve(self, connection: socket.socket) -> None:
        from flyte.syncify import syncify

        async def serve() -> None:
            await self._serve(connection)

        # On the SDK's own event loop, which its connections belong to.
        syncify(serve)()

    async def _serve(self, connection: socket.socket) -> None:
        """Answers each request as it comes; flyte-local decides how many there are at once."""
        reader, writer = await asyncio.open_unix_connection(sock=connection, limit=LONGEST_LINE)
        running = set()

        async def do(request: messages.PushRequest) -> None:
            answer: messages.Answered = {
                "op": "done",
                "index": request["index"],
                "found": None,
                "code": None,
                "message": None,
            }
            try:
                answer["found"] = await self._do(request)
            except Exception as error:
                answer["code"], answer["message"] = explained(error)
            writer.write(json.dumps(answer).encode() + b"\n")

        while line := await reader.readline():
            task = asyncio.create_task(do(json.loads(line)))
            running.add(task)
            task.add_done_callback(running.discard)

    async def _do(self, request: messages.PushRequest) -> messages.SecretType | None:
        """Makes one call. Returns the type of the secret for a look, and nothing for a write."""
        identifier = self._definitions.SecretIdentifier(
            organization=self._organization,
            project=request["project"],
            domain=request["domain"],
            name=request["name"],
        )
        if request["op"] == "look":
            answer = await self._get(request=self._payloads.GetSecretRequest(id=identifier))
            is_image_pull = answer.secret.secret_metadata.type == self._definitions.SECRET_TYPE_IMAGE_PULL_SECRET
            return "image_pull" if is_image_pull else "regular"
        # A cluster's answer may repeat the value, and the SDK logs answers.
        logging.disable()
        # Bytes, as the SDK's own command sends them.
        types = {
            "regular": self._definitions.SECRET_TYPE_GENERIC,
            "image_pull": self._definitions.SECRET_TYPE_IMAGE_PULL_SECRET,
        }
        assert request["type"] is not None and request["value"] is not None, "a write has both"
        value = base64.b64decode(request["value"])
        spec = self._definitions.SecretSpec(type=types[request["type"]], binary_value=value)
        if request["op"] == "update":
            await self._update(request=self._payloads.UpdateSecretRequest(id=identifier, secret_spec=spec))
        else:
            await self._create(request=self._payloads.CreateSecretRequest(id=identifier, secret_spec=spec))
        return None


def explained(error: BaseException) -> tuple[str | None, str]:
    """Returns gRPC's word for an error, if it has one, and the error's message."""
    if isinstance(error, ModuleNotFoundError) and error.name == "flyte":
        return "no_sdk", ""
    if isinstance(error, UnknownPoolsError):
        return "no_pools", ""
    if isinstance(error, UnknownSdkError):
        return "unknown_sdk", str(error.__cause__)
    cause: BaseException | None = error
    seen = set()
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        code = getattr(cause, "code", None)
        # A method of gRPC's error, an attribute of Connect's.
        code = code() if callable(code) else code
        if isinstance(code, enum.Enum):
            message = getattr(cause, "message", None)
            details = getattr(cause, "details", None)
            return code.name.lower(), str(message or (details() if callable(details) else None) or "")
        # The SDK's error names the cluster that it could not ask, and has the reason as its cause.
        cause = cause.__cause__
    if getattr(error, "code", None) == "ClientNotInitializedError":
        return "no_cluster", ""
    # The text that click would show.
    format_message = getattr(error, "format_message", None)
    return None, format_message() if format_message else f"{type(error).__name__}: {error}"
