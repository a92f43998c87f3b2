"""Stands in for Flyte's SecretService, to fail as `flyte-local serve` does not: it refuses, breaks off, and repeats values.

    python push_cluster.py JOURNAL FAULTS

Speaks the protocol of the installed SDK: gRPC for the oldest, Connect for the others. Prints its port. Writes each
call and its answer to JOURNAL as a line of JSON; secrets that an existing JOURNAL says were written exist. FAULTS is a
JSON object:

    refuse_project_only  answers InvalidArgument for a project without a domain, as the open-source backend does
    all                  the code that answers every call
    get                  {name: code}: the code that answers a get
    write                {name: code}: the code that answers a create or an update, with the value in the message
    unseen               names that a get does not find, though they may exist: created by another client meanwhile
    gone_after           how many writes it takes before it ends, in the middle of the next
    hold                 a file that a write waits for
    together             how many writes wait for each other, after the first
"""

import base64
import gzip
import json
import os
import sys
import threading
import time
from concurrent import futures

from flyteidl2.secret import definition_pb2, payload_pb2

faults = json.loads(sys.argv[2])
secrets, lock, writes = {}, threading.Lock(), 0
received, answered, together = [], [], threading.Barrier(faults.get("together", 1))

REQUESTS = {
    "CreateSecret": (payload_pb2.CreateSecretRequest, payload_pb2.CreateSecretResponse),
    "UpdateSecret": (payload_pb2.UpdateSecretRequest, payload_pb2.UpdateSecretResponse),
    "GetSecret": (payload_pb2.GetSecretRequest, payload_pb2.GetSecretResponse),
}


class RefusedError(Exception):
    def __init__(self, code, message):
        super().__init__(message)
        self.code, self.message = code, message


def take(method, request):
    """Returns the answer to a call."""
    call = {"method": method, "place": [request.id.project, request.id.domain, request.id.name]}
    if method != "GetSecret":
        spec = request.secret_spec
        call["kind"] = spec.WhichOneof("value")
        call["type"] = definition_pb2.SecretType.Name(spec.type)
        call["value"] = base64.b64encode(spec.binary_value or spec.string_value.encode()).decode()
        received.append(base64.b64decode(call["value"]).decode(errors="replace"))
        if "hold" in faults:
            with lock:
                note(call, "held")
            while not os.path.exists(faults["hold"]):
                time.sleep(0.01)
        if "together" in faults and any(answered):
            together.wait(timeout=30)
        answered.append(True)
    with lock:
        try:
            answer = look(call, request) if method == "GetSecret" else write(call)
        except RefusedError as refused:
            note(call, refused.code)
            raise
        note(call, "ok")
        return answer


def note(call, answer):
    journal.write(json.dumps({**call, "answer": answer}) + "\n")
    journal.flush()


def look(call, request):
    place, name = tuple(call["place"]), call["place"][2]
    refuse(place)
    if name in faults.get("get", {}):
        raise RefusedError(faults["get"][name], "not\r\n  to be seen")
    if place not in secrets or name in faults.get("unseen", []):
        raise RefusedError("not_found", "there is no such secret")
    found = payload_pb2.GetSecretResponse()
    found.secret.id.CopyFrom(request.id)
    found.secret.secret_metadata.type = definition_pb2.SecretType.Value(secrets[place])
    return found


def write(call):
    global writes
    place, name = tuple(call["place"]), call["place"][2]
    refuse(place)
    writes += 1
    if writes > faults.get("gone_after", writes):
        note(call, "gone")
        os._exit(0)
    if name in faults.get("write", {}):
        value = base64.b64decode(call["value"]).decode(errors="replace")
        message = f"cannot store {value!r} nor {call['value']}, that is {value}, after {received[0]}"
        raise RefusedError(faults["write"][name], message)
    if call["method"] == "CreateSecret" and place in secrets:
        raise RefusedError("already_exists", "there is such a secret")
    if call["method"] == "UpdateSecret" and place not in secrets:
        raise RefusedError("not_found", "there is no such secret")
    secrets[place] = call["type"]
    return REQUESTS[call["method"]][1]()


def refuse(place):
    if "all" in faults:
        raise RefusedError(faults["all"], "so it is with every call")
    if place[0] and not place[1] and faults.get("refuse_project_only"):
        raise RefusedError("invalid_argument", "project-scoped secrets must also specify a domain")


def serve_grpc():
    import grpc
    from flyteidl2.secret import secret_pb2_grpc

    class Service(secret_pb2_grpc.SecretServiceServicer):
        pass

    def handler(method):
        def handle(_, request, context):
            try:
                return take(method, request)
            except RefusedError as refused:
                context.abort(grpc.StatusCode[refused.code.upper()], refused.message)

        return handle

    for method in REQUESTS:
        setattr(Service, method, handler(method))
    server = grpc.server(futures.ThreadPoolExecutor(8))
    secret_pb2_grpc.add_SecretServiceServicer_to_server(Service(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return port, server.wait_for_termination


def select(body):
    """Notes the cluster pool that a call is for, if it names one. Pools are called `pool…`."""
    from flyteidl2.cluster import payload_pb2 as cluster

    pool = cluster.SelectClusterRequest.FromString(body).cluster_pool_id
    if pool.name:
        with lock:
            note({"method": "SelectCluster", "place": ["", "", pool.name], "organization": pool.organization}, "ok")
        if not pool.name.startswith("pool"):
            raise RefusedError("not_found", "there is no such pool")


def serve_connect():
    import http.server

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            method = self.path.rpartition("/")[2]
            try:
                if method == "SelectCluster":
                    select(body)
                    self.reply(200, "application/proto", b"")
                else:
                    answer = take(method, REQUESTS[method][0].FromString(body))
                    self.reply(200, "application/proto", answer.SerializeToString())
            except RefusedError as refused:
                error = {"code": refused.code, "message": refused.message}
                self.reply(400, "application/json", json.dumps(error).encode())

        def reply(self, status, kind, body):
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    return server.server_address[1], server.serve_forever


try:
    import grpc  # noqa: F401

    port, wait = serve_grpc()
except ModuleNotFoundError:
    port, wait = serve_connect()
journal = open(sys.argv[1], "a+")  # noqa: SIM115  Open to the end.
journal.seek(0)
for call in map(json.loads, journal):
    if "type" in call and call["answer"] == "ok":
        secrets[tuple(call["place"])] = call["type"]
print(port, flush=True)
wait()
