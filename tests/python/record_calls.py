"""Calls each method of the service, in a fixed order, for a test that records the requests of an SDK."""

import asyncio
import os
import sys

import flyte
from flyte._initialize import get_client
from flyte.remote import Secret
from flyte.syncify import syncify
from flyteidl2.secret import definition_pb2, payload_pb2


async def refused(call):
    try:
        await call
    except Exception:
        return
    sys.exit("the call should have been refused")


@syncify
async def update(name, value):
    """Updates a secret, for which `flyte.remote` has no function."""
    service = get_client().secrets_service
    request = payload_pb2.UpdateSecretRequest(
        id=definition_pb2.SecretIdentifier(name=name), secret_spec=definition_pb2.SecretSpec(binary_value=value)
    )
    # gRPC's client has the name of the method, Connect's that of a function.
    await (service.UpdateSecret if hasattr(service, "UpdateSecret") else service.update_secret)(request)


PULL = b'{"auths": {"ghcr.io": {"auth": "bWU6aHVudGVyMg=="}}}'


async def main():
    await flyte.init_from_config.aio(project="", domain="")
    await Secret.create.aio("recorded", b"\x00\xff binary")
    await refused(Secret.create.aio("recorded", b"again"))
    await Secret.create.aio("text", "a value of text")
    await Secret.create.aio("pull", PULL, type="image_pull")
    await Secret.get.aio("recorded")
    await refused(Secret.get.aio("missing"))
    await update.aio("recorded", b"updated")
    assert len([secret async for secret in Secret.listall.aio(limit=2)]) == 3
    await Secret.delete.aio("text")
    await refused(Secret.delete.aio("text"))
    await refused(Secret.create.aio("no name", b"x"))
    await flyte.init_from_config.aio(project="p", domain="d")
    await Secret.create.aio("scoped", b"x" * 4096)
    assert len([secret async for secret in Secret.listall.aio()]) == 1


asyncio.run(main())
# The newest SDK's HTTP library now and then aborts while Python ends.
os._exit(0)
