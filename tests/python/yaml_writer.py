"""Writes objects of names and texts as YAML, in every style that PyYAML has.

Each line of standard input is an object as JSON; for each, prints a line of JSON: the documents in base64.
"""

import base64
import json
import sys

import yaml

STYLES = [
    {"default_style": style, "width": width, "allow_unicode": unicode, "default_flow_style": flow, "line_break": line_break}
    for style in (None, "'", '"', "|", ">")
    for width, unicode, flow, line_break in ((80, True, False, "\n"), (8, False, False, "\r\n"), (20, True, True, "\n"))
]

for line in sys.stdin:
    values = json.loads(line)
    documents = [yaml.safe_dump(values, encoding="utf-8", explicit_start=True, **style) for style in STYLES]
    # PyYAML does not read back every document that it writes.
    sound = [document for document in documents if yaml.safe_load(document) == values]
    print(json.dumps([base64.b64encode(document).decode() for document in sound]))
