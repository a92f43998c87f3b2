"""Uses flyte.remote.Secret as a script does, in both ways of calling it; the lines that a test reads start with `=> `."""

import asyncio
import json
import os
import sys

import flyte
from flyte.remote import Secret


def say(*what):
    print("=>", *what, flush=True)


def shown(secret):
    about = secret.pb2.secret_metadata
    created = about.created_time.ToDatetime()
    return [secret.pb2.id.project, secret.pb2.id.domain, secret.name, secret.type, created.year >= 2024]


def code_of(error):
    """Returns the code of an error; gRPC and Connect say the same in other words."""
    code = getattr(error, "code", None)
    code = code() if callable(code) else code
    return getattr(code, "name", None) or str(code)


def refused(call):
    try:
        call()
    except Exception as error:
        return code_of(error)
    return "done"


async def refused_aio(call):
    try:
        await call
    except Exception as error:
        return code_of(error)
    return "done"


SCOPES = [("", ""), ("p", ""), ("", "d"), ("p", "d")]


def verbs():
    for project, domain in SCOPES:
        flyte.init_from_config(project=project, domain=domain)
        scope = f"[{project}|{domain}]"
        Secret.create("bytes", bytes(range(256)) + scope.encode())
        Secret.create("text", "text of " + scope)
        say("create", scope, refused(lambda: Secret.create("text", "another")))
        say("get", scope, json.dumps(shown(Secret.get("text"))))
        say("list", scope, json.dumps(sorted(shown(secret)[:3] for secret in Secret.listall())))
        Secret.create("gone", b"")
        Secret.delete("gone")
        say("delete", scope, refused(lambda: Secret.delete("gone")))
        say("get", scope, refused(lambda: Secret.get("gone")))


async def verbs_aio():
    for project, domain in SCOPES:
        await flyte.init_from_config.aio(project=project, domain=domain)
        scope = f"[{project}|{domain}]"
        await asyncio.gather(*(Secret.create.aio(f"aio-{n}", f"{n} of {scope}".encode()) for n in range(8)))
        say("create", scope, await refused_aio(Secret.create.aio("aio-0", b"another")))
        found = await asyncio.gather(*(Secret.get.aio(f"aio-{n}") for n in range(8)))
        say("get", scope, json.dumps([secret.name for secret in found]))
        names = [secret.name async for secret in Secret.listall.aio(limit=3)]
        say("list", scope, len(names), len([name for name in names if name.startswith("aio-")]))
        await Secret.delete.aio("aio-7")
        say("delete", scope, await refused_aio(Secret.delete.aio("aio-7")))
        say("get", scope, await refused_aio(Secret.get.aio("aio-7")))


async def pages():
    await flyte.init_from_config.aio(project="", domain="")
    for limit in map(int, sys.argv[2:]):
        names = []
        async for secret in Secret.listall.aio(limit=limit):
            names.append(secret.name)
            if len(names) > 10_000:
                sys.exit("the list has no end")
        say("list", json.dumps(names))


if sys.argv[1] == "verbs":
    verbs()
    asyncio.run(verbs_aio())
else:
    asyncio.run(pages())

# The newest SDK's HTTP library now and then aborts while Python ends.
sys.stdout.flush()
os._exit(0)
