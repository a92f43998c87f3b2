"""Reads .env files as python-dotenv does, each a base64 line of standard input, and prints a line of JSON for each.

`values` holds the values (null if the file is not text), `errors` the lines of the statements that python-dotenv would warn
about and skip, `expanded` the names whose values it would expand by default.
"""

import base64
import json
import logging
import os
import sys
import tempfile

from dotenv import dotenv_values
from dotenv.parser import parse_stream
from dotenv.variables import Variable, parse_variables

# Its warnings are in `errors`.
logging.disable()
sys.stdin.reconfigure(encoding="ascii")
with tempfile.TemporaryDirectory() as directory:
    path = os.path.join(directory, ".env")
    for line in sys.stdin:
        content = base64.b64decode(line)
        with open(path, "wb") as file:
            file.write(content)
        try:
            values = dotenv_values(path, interpolate=False, encoding="utf-8")
        except UnicodeDecodeError:
            print(json.dumps({"values": None, "errors": [], "expanded": []}))
            continue
        errors = []
        with open(path, encoding="utf-8") as stream:
            for binding in parse_stream(stream):
                if binding.error:
                    text = binding.original.string
                    before = text[: len(text) - len(text.lstrip())]
                    errors.append(binding.original.line + before.count("\n"))
        texts = ((name, value) for name, value in values.items() if value is not None)
        expanded = [name for name, text in texts if any(isinstance(atom, Variable) for atom in parse_variables(text))]
        print(json.dumps({"values": values, "errors": errors, "expanded": expanded}))
