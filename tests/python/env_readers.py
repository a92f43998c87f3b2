"""Reads .env files as each of their usual readers does.

Arguments: the `uv` program. Standard input has one `PATH NAME…` a line. For each, prints a line of JSON: for each reader an
object of the names and their values in base64.

npm's dotenv is not asked itself: `npm_dotenv` follows the regular expressions of lib/main.js in its version 16. White space
and line ends of JavaScript differ from Python's, so they are spelled out.
"""

import base64
import json
import os
import re
import subprocess
import sys

from dotenv import dotenv_values

SPACE = "\t\n\v\f\r \xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"
LINE_END = "\n\r\u2028\u2029"
S = f"[{SPACE}]"
LINE = re.compile(
    rf"(?:(?<![^{LINE_END}])){S}*(?:export{S}+)?([A-Za-z0-9_.-]+)(?:{S}*={S}*?|:{S}+?)"
    rf"""({S}*'(?:\\'|[^'])*'|{S}*"(?:\\"|[^"])*"|{S}*`(?:\\`|[^`])*`|[^#\r\n]+)?"""
    rf"{S}*(?:#[^{LINE_END}]*)?(?![^{LINE_END}])"
)
QUOTED = re.compile(rf"(?<![^{LINE_END}])(['\"`])([\s\S]*)\1(?![^{LINE_END}])")


def npm_dotenv(path, _names):
    with open(path, encoding="utf-8", newline="") as file:
        text = re.sub(r"\r\n?", "\n", file.read())
    values = {}
    for match in LINE.finditer(text):
        blank = re.sub(rf"^{S}+|{S}+\Z", "", match[2] or "")
        value = QUOTED.sub(lambda quoted: quoted[2], blank)
        if blank.startswith('"'):
            value = value.replace("\\n", "\n").replace("\\r", "\r")
        values[match[1]] = value.encode()
    return values


def python_dotenv(path, _names):
    # As `load_dotenv()` does by default: `${A}` is replaced.
    return {name: value.encode() for name, value in dotenv_values(path).items()}


def run(command, directory):
    environment = {"PATH": os.environ["PATH"], "HOME": directory, "LC_ALL": "C.UTF-8"}
    return subprocess.run(command, capture_output=True, env=environment, cwd=directory, check=False)


def shell(program):
    def read(path, names):
        # A marker at the end: a script that ends early, or an output that a command wrote into, is seen.
        printed = "".join(f'printf "%s\\0" "${name}"; ' for name in names)
        ran = run([program, "-c", f". {path}; {printed} printf end"], os.path.dirname(path))
        assert (ran.returncode, ran.stderr) == (0, b""), (program, path, ran)
        *values, end = ran.stdout.split(b"\0")
        assert end == b"end" and len(values) == len(names), (program, path, ran.stdout)
        return dict(zip(names, values, strict=True))

    return read


def uv(path, names):
    ran = run([sys.argv[1], "run", "--no-project", "--no-config", "--env-file", path, "--", "env", "-0"], os.path.dirname(path))
    assert ran.returncode == 0 and b"warning" not in ran.stderr, (path, ran)
    pairs = dict(line.split(b"=", 1) for line in ran.stdout.split(b"\0") if line)
    return {name: pairs[name.encode()] for name in names}


READERS = {"python-dotenv": python_dotenv, "npm's dotenv": npm_dotenv, "bash": shell("bash"), "dash": shell("dash"), "uv": uv}

os.environ["A"] = "from the environment"
for line in sys.stdin:
    path, *names = line.split()
    read = {reader: READERS[reader](path, names) for reader in READERS}
    encoded = {
        reader: {name: base64.b64encode(value).decode() for name, value in values.items()} for reader, values in read.items()
    }
    print(json.dumps(encoded), flush=True)
