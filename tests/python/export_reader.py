"""Reads exported files as the usual readers of their kind do.

Standard input has one `KIND PATH` a line; for each, prints a line of JSON: an object of names and values in base64.
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


def from_json(path):
    with open(path, encoding="utf-8") as file:
        values = as_bytes(json.load(file))
    # It is YAML 1.1 as well, which takes more characters for line ends.
    with open(path, "rb") as file:
        assert as_bytes(yaml.safe_load(file)) == values, path
    return values


READERS = {
    "dotenv": lambda path: as_bytes(dotenv_values(path)),
    "json": from_json,
    "kubernetes": kubernetes,
}

for line in sys.stdin:
    kind, path = line.split()
    values = READERS[kind](path)
    print(json.dumps({name: base64.b64encode(value).decode() for name, value in values.items()}), flush=True)
