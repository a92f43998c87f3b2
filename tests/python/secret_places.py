"""Lists the places in the Flyte SDK that take a secret: parameters and fields that have `secret` in their name, or that the
SDK's types of secrets annotate. Prints one a line. Takes the directory of a package, or finds the one that is installed.

What is below `flyte._internal` is left out: it gets what other places take, and changes with every version.
"""

import ast
import importlib.util
import pathlib
import re
import sys

TYPES = re.compile(r"\b(Secret|SecretRequest)\b")


def is_place(name, annotation):
    return "secret" in name.lower() or (annotation is not None and TYPES.search(ast.unparse(annotation)) is not None)


def places(node, owner, is_class=False):
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            arguments = child.args
            every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
            for argument in filter(None, every):
                if is_place(argument.arg, argument.annotation):
                    yield f"{owner}.{child.name}({argument.arg})"
            yield from places(child, f"{owner}.{child.name}")
        elif isinstance(child, ast.ClassDef):
            yield from places(child, f"{owner}.{child.name}", is_class=True)
        elif isinstance(child, ast.AnnAssign) and is_class and isinstance(child.target, ast.Name):
            if is_place(child.target.id, child.annotation):
                yield f"{owner}({child.target.id})"
        else:
            yield from places(child, owner, is_class)


installed = pathlib.Path(importlib.util.find_spec("flyte").origin).parent
root = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else installed
found = set()
for path in root.rglob("*.py"):
    module = ".".join(path.relative_to(root.parent).with_suffix("").parts).removesuffix(".__init__")
    if not f"{module}.".startswith("flyte._internal."):
        found.update(places(ast.parse(path.read_text(encoding="utf-8")), module))
print("\n".join(sorted(found)))
