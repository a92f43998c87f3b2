"""Compares the messages of the installed SDK with those of `flyte-local serve`.

Takes one of two commands, and prints JSON:

*   `describe FILE`, where FILE holds a descriptor set: describes the messages of the SDK, those of FILE, and the services.
*   `requests ONE OTHER SEED COUNT` sends random requests to the services at two addresses, as protobuf to one and as JSON to
    the other, whose answers must be the same: counts the answers of each kind.
"""

import base64
import gzip
import http.client
import json
import random
import sys

from flyteidl2.secret import definition_pb2, payload_pb2, secret_pb2
from google.protobuf import descriptor_pb2, json_format


def described(files):
    """Fields by their numbers, values of enums by theirs."""
    found = {}

    def message(prefix, proto):
        name = f"{prefix}.{proto.name}"
        oneofs = [oneof.name for oneof in proto.oneof_decl]
        found[name] = {
            str(field.number): [
                field.name,
                field.json_name,
                field.Type.Name(field.type),
                field.Label.Name(field.label),
                field.type_name,
                oneofs[field.oneof_index] if field.HasField("oneof_index") else None,
            ]
            for field in proto.field
        }
        for nested in proto.nested_type:
            message(name, nested)
        for nested in proto.enum_type:
            enum(name, nested)

    def enum(prefix, proto):
        found[f"{prefix}.{proto.name}"] = {str(value.number): [value.name] for value in proto.value}

    for file in files:
        for proto in file.message_type:
            message(file.package, proto)
        for proto in file.enum_type:
            enum(file.package, proto)
    return found


def installed():
    modules = [definition_pb2, payload_pb2, secret_pb2]
    try:
        from flyteidl2.cluster import service_pb2

        modules.append(service_pb2)
    except ImportError:
        # SDKs that speak gRPC know nothing of clusters.
        pass
    return [descriptor_pb2.FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb) for module in modules]


def describe(path):
    with open(path, "rb") as file:
        ours = descriptor_pb2.FileDescriptorSet.FromString(file.read())
    files = installed()
    services = {
        f"/{file.package}.{service.name}/{method.name}": [method.input_type, method.output_type]
        for file in files
        for service in file.service
        for method in service.method
    }
    ours = [file for file in ours.file if file.package == "flyteidl2.secret"]
    print(json.dumps({"ours": described(ours), "theirs": described(files), "services": services}))


SERVICE = "/flyteidl2.secret.SecretService/"
METHODS = ["CreateSecret", "UpdateSecret", "GetSecret", "DeleteSecret", "ListSecrets"]


class Client:
    def __init__(self, address):
        self.connection = http.client.HTTPConnection(address)

    def call(self, method, content_type, body, zipped):
        headers = {"content-type": content_type, "connect-protocol-version": "1"}
        if zipped:
            headers |= {"content-encoding": "gzip", "accept-encoding": "gzip"}
            body = gzip.compress(body)
        self.connection.request("POST", SERVICE + method, body, headers)
        reply = self.connection.getresponse()
        said = reply.read()
        if reply.headers.get("content-encoding") == "gzip":
            assert zipped, "the request did not ask for gzip"
            said = gzip.decompress(said)
        if reply.status != 200:
            error = json.loads(said)
            return reply.status, (error["code"], error["message"])
        assert reply.headers["content-type"] == content_type, reply.headers
        message = getattr(payload_pb2, method + "Response")
        if content_type == "application/json":
            return 200, json_format.Parse(said, message())
        return 200, message.FromString(said)


class Requests:
    def __init__(self, seed):
        self.random = random.Random(seed)

    def often(self, usual, *others):
        return usual() if self.random.random() < 0.85 else self.random.choice(others)

    def name(self):
        return self.often(lambda: self.random.choice("abcdefgh"), "", "bad name", "é", "x" * 252, "-_-", "A1", "../a")

    def part(self, usual):
        return self.often(lambda: self.random.choice(["", usual]), "bad part", "x" * 64, ".", usual.upper())

    def value(self):
        size = self.random.choice([0, 1, 2, 3, 30, 3000])
        return self.random.randbytes(size)

    def id(self):
        organization = self.random.choice(["", "o", "anything: é!"])
        return definition_pb2.SecretIdentifier(
            name=self.name(), organization=organization, project=self.part("p"), domain=self.part("d")
        )

    def spec(self):
        spec = definition_pb2.SecretSpec(type=self.often(lambda: 0, 1, 1, 7))
        kind = self.random.randrange(8)
        if kind < 4:
            spec.binary_value = self.value()
        elif kind < 7:
            spec.string_value = self.value().decode("latin-1")
        return spec

    def token(self):
        return self.often(lambda: "", "::a", "p:d:b", "p::", "::bad name", "junk", ":d:g")

    def request(self, method):
        if method == "ListSecrets":
            request = payload_pb2.ListSecretsRequest(
                organization=self.random.choice(["", "o"]),
                project=self.part("p"),
                domain=self.part("d"),
                limit=self.often(lambda: self.random.randrange(5), -1, -(2**31), 2**31 - 1, 1000),
                token=self.token(),
            )
            if self.random.random() < 0.3:
                request.per_cluster_tokens[self.random.choice(["local", "other", ""])] = self.token()
            return request
        request = getattr(payload_pb2, method + "Request")()
        if self.random.random() < 0.97:
            request.id.CopyFrom(self.id())
        if method in ("CreateSecret", "UpdateSecret"):
            if self.random.random() < 0.97:
                request.secret_spec.CopyFrom(self.spec())
        elif self.random.random() < 0.2 and hasattr(request, "include_system_secrets"):
            request.include_system_secrets = True
        return request

    def as_protobuf(self, request):
        # A field that is not known is skipped: number 99, of two bytes.
        more = b"\x9a\x06\x02hi" if self.random.random() < 0.2 else b""
        return request.SerializeToString() + more

    def as_json(self, request):
        options = {"preserving_proto_field_name": self.random.random() < 0.5}
        options["use_integers_for_enums"] = self.random.random() < 0.5
        if self.random.random() < 0.3:
            options["always_print_fields_with_no_presence"] = True
        fields = json_format.MessageToDict(request, **options)
        if self.random.random() < 0.2:
            fields["from_the_future"] = {"a": [1, None, {}]}
        if self.random.random() < 0.1:
            fields.setdefault("token", None)
        if "limit" in fields and self.random.random() < 0.3:
            fields["limit"] = str(fields["limit"])
        spec = fields.get("secret_spec", fields.get("secretSpec", {}))
        for key in ("binary_value", "binaryValue"):
            if key in spec and self.random.random() < 0.3:
                spec[key] = base64.urlsafe_b64encode(base64.b64decode(spec[key])).decode().rstrip("=")
        text = json.dumps(fields, ensure_ascii=self.random.random() < 0.5, indent=self.random.choice([None, 1]))
        return text.encode()


def without_time(reply):
    """Of two vaults no more is the same."""
    reply = type(reply).FromString(reply.SerializeToString())
    secrets = reply.secrets if hasattr(reply, "secrets") else [reply.secret] if hasattr(reply, "secret") else []
    for secret in secrets:
        assert secret.secret_metadata.created_time.seconds > 1_600_000_000, secret
        secret.secret_metadata.ClearField("created_time")
    return reply


def requests(one, other, seed, count):
    one, other, make = Client(one), Client(other), Requests(int(seed))
    seen = {}
    for number in range(int(count)):
        method = make.random.choices(METHODS, [5, 2, 3, 2, 3])[0]
        request = make.request(method)
        written = make.as_json(request)
        zipped = make.random.random() < 0.4
        first = one.call(method, "application/proto", make.as_protobuf(request), zipped)
        second = other.call(method, "application/json", written, zipped)
        if first[0] == 200 == second[0]:
            assert without_time(first[1]) == without_time(second[1]), (number, method, written, first, second)
            outcome = "done"
        else:
            assert first == second, (number, method, written, first, second)
            outcome = first[1][0]
        if method in ("GetSecret", "ListSecrets"):
            again = one.call(method, "application/json", written, not zipped)
            assert again == first, (number, method, written, first, again)
        seen[f"{method} {outcome}"] = seen.get(f"{method} {outcome}", 0) + 1
    print(json.dumps(seen))


{"describe": describe, "requests": requests}[sys.argv[1]](*sys.argv[2:])
