"""The part of `flyte-local push` that runs in the user's Python: it calls the cluster through the SDK.

It enters as a subcommand of the SDK's own command does, so that configuration, authentication and TLS are the SDK's, and then does
what flyte-local says over the inherited socket: one JSON object a line each way. Values come over that socket alone, and nothing
here prints. Compiled under `<flyte-local>`, so that a traceback has no line of it.
"""

import asyncio
import base64
import enum
import json
import logging
import os
import signal
import socket
import sys

from _flyte_local.broker import die_with

# A value of 1 MiB as base64, and what stands around it.
LONGEST_LINE = 2 << 20


def start(descriptor, target, parent):
    os.set_inheritable(descriptor, False)
    die_with(parent)
    # Ctrl-C ends both, without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Standard output is flyte-local's, for the table; what the SDK has to say, as at a login, is talk.
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    # It would have gRPC print what is sent.
    os.environ.pop("GRPC_TRACE", None)
    connection = socket.socket(fileno=descriptor)
    try:
        cluster, about = connect(target)
    except BaseException as error:
        code, message = explained(error)
        send(connection, {"op": "failed", "code": code, "message": message, "python": sys.executable})
        leave()
    send(connection, {"op": "connected", **about})
    try:
        cluster.serve(connection)
    finally:
        leave()


def send(connection, message):
    connection.sendall(json.dumps(message).encode() + b"\n")


def leave():
    """At once: the SDK's threads and channels, and whatever a signal left, have nothing to say any more."""
    sys.stderr.flush()
    os._exit(0)


def connect(target):
    """The cluster that the SDK's configuration and `target` name, and what is to be told of it."""
    import flyte  # noqa: F401  Before what is below it: a Python without it is to be told from one with another.

    try:
        import click
        from flyte._initialize import get_client, get_init_config
        from flyte.cli.main import main
        from flyteidl2.secret import definition_pb2, payload_pb2
    except (ImportError, AttributeError) as error:
        raise UnknownSdk from error

    entered = []

    @click.command("flyte-local-push")
    @click.pass_obj
    def enter(config):
        config.init()
        entered.append(config)

    main.add_command(enter)
    arguments = [enter.name]
    if target["insecure"]:
        arguments.insert(0, "--insecure")
    for name in ("endpoint", "config"):
        if target[name] is not None:
            arguments[:0] = [f"--{name}", target[name]]
    main.main(arguments, prog_name="flyte", standalone_mode=False)
    client, organization = get_client(), get_init_config().org
    source = entered[0].config.source
    about = {
        "endpoint": client.console.endpoint,
        "organization": organization or None,
        "config": str(source.absolute()) if source else None,
    }
    return Cluster(client.secrets_service, organization, definition_pb2, payload_pb2), about


class UnknownSdk(Exception):
    pass


class Cluster:
    """The SDK's client of Flyte's SecretService. It is the one that `flyte.remote.Secret` has; that class takes project and domain
    from the SDK's one configuration, so that another scope would be another login, and has no update."""

    def __init__(self, service, organization, definitions, payloads):
        self._organization, self._definitions, self._payloads = organization, definitions, payloads
        # Connect's spelling, and that of gRPC, which older SDKs (2.0) speak.
        self._get = getattr(service, "get_secret", None) or service.GetSecret
        self._create = getattr(service, "create_secret", None) or service.CreateSecret
        self._update = getattr(service, "update_secret", None) or service.UpdateSecret

    def serve(self, connection):
        from flyte.syncify import syncify

        async def serve():
            await self._serve(connection)

        # On the SDK's own event loop, which its connections belong to.
        syncify(serve)()

    async def _serve(self, connection):
        """Does what is asked, each thing as it comes; how many at once is up to flyte-local."""
        reader, writer = await asyncio.open_unix_connection(sock=connection, limit=LONGEST_LINE)
        running = set()

        async def do(request):
            try:
                answer = {"found": await self._do(request)}
            except Exception as error:
                code, message = explained(error)
                answer = {"code": code, "message": message}
            writer.write(json.dumps({"op": "done", "index": request["index"], **answer}).encode() + b"\n")

        while line := await reader.readline():
            task = asyncio.create_task(do(json.loads(line)))
            running.add(task)
            task.add_done_callback(running.discard)

    async def _do(self, request):
        """For a look, the type of the secret; nothing for what is sent."""
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
        value = base64.b64decode(request["value"])
        spec = self._definitions.SecretSpec(type=types[request["type"]], binary_value=value)
        if request["op"] == "update":
            await self._update(request=self._payloads.UpdateSecretRequest(id=identifier, secret_spec=spec))
        else:
            await self._create(request=self._payloads.CreateSecretRequest(id=identifier, secret_spec=spec))
        return None


def explained(error):
    """What an error is, in gRPC's word for it if it has one, and its message."""
    if isinstance(error, ModuleNotFoundError) and error.name == "flyte":
        return "no_sdk", ""
    if isinstance(error, UnknownSdk):
        return "unknown_sdk", str(error.__cause__)
    cause, seen = error, set()
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        code = getattr(cause, "code", None)
        # A method of gRPC's error, an attribute of Connect's.
        code = code() if callable(code) else code
        if isinstance(code, enum.Enum):
            message = getattr(cause, "message", None)
            return code.name.lower(), message if message is not None else cause.details()
        # It says which cluster it could not be asked for, and has the reason as its cause.
        cause = cause.__cause__
    if getattr(error, "code", None) == "ClientNotInitializedError":
        return "no_cluster", ""
    # What click would say.
    message = getattr(error, "format_message", lambda: f"{type(error).__name__}: {error}")()
    return None, message
