"""Reads what was exported, one `KIND PATH` a line of standard input, as the stock readers of the kind do.

Prints a line of JSON for each: an object of names and values in base64.
"""

import base64
import json
import sys

import yaml
from dotenv import dotenv_values


def as_bytes(values):
    return {name: text.encode("utf-8") for name, text in values.items()}


def kubernetes(path):
    with open(path, "rb") as file:
        secret = yaml.safe_load(file)
    assert (secret["apiVersion"], secret["kind"], secret["type"]) == ("v1", "Secret", "Opaque")
    assert secret["metadata"] == {"name": "flyte-local"}
    assert all(isinstance(name, str) for name in secret["data"])
    return {name: base64.b64decode(value, validate=True) for name, value in secret["data"].items()}


READERS = {
    "dotenv": lambda path: as_bytes(dotenv_values(path, interpolate=False)),
    "json": lambda path: as_bytes(json.load(open(path, encoding="utf-8"))),
    "kubernetes": kubernetes,
}

for line in sys.stdin:
    kind, path = line.split()
    values = READERS[kind](path)
    print(json.dumps({name: base64.b64encode(value).decode() for name, value in values.items()}), flush=True)
