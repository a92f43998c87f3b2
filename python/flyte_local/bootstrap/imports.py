"""Finds the secrets that a file declares before its code runs: on a cluster they are there when it is imported.

It reads source, and runs none of it. What a file declares is known where the arguments are constants: literals, names
of a module that are bound once to one, and f-strings and sums of these. The rest is provided when it is declared.
"""

from __future__ import annotations

import ast
import collections
import functools
import importlib.machinery
import os
import re
import sys
import sysconfig
import warnings
from typing import TYPE_CHECKING

from .injection import scanned

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from importlib.machinery import ModuleSpec
    from typing import Any

    from .injection import Secrets
    from .sdk import Sdk, Secret

# A bound on how much of a project is read for one file, against a tree that has no end.
MOST_FILES = 1000

IMPORT = re.compile(
    rb"^[ \t]*(?:from[ \t]+(\.*[\w.]*)[ \t]+import[ \t]*(\([^)]*\)|[^\n;]+)|import[ \t]+([^\n;]+))", re.MULTILINE
)

# The words of which a file with a declaration has one somewhere.
DECLARES = re.compile(rb"\bsecrets\s*=|\.\s*Secret\b|\bSecret\s*\(|\bSecret\s+as\b|=\s*Secret\b")

# The longest string that is put together; no key or variable comes near.
LONGEST_TEXT = 4096

# Nothing is declared in these.
LEAVES = (ast.Constant, ast.Name, ast.alias, ast.arg, ast.expr_context, ast.operator, ast.cmpop, ast.boolop, ast.unaryop)

NAME = re.compile(r"\w+(\.\w+)*")

MOUNT = "/etc/flyte/secrets"

# The arguments with secrets that are an image's, and that no code of the file gets.
OF_IMAGES = ("secret_mounts", "registry_secret")


def is_constant_none(node: ast.expr) -> bool:
    """Returns whether an expression is the constant `None`."""
    return isinstance(node, ast.Constant) and node.value is None


@functools.cache
def installed_directories() -> tuple[str, ...]:
    kinds = ("stdlib", "platstdlib", "purelib", "platlib")
    return tuple({os.path.realpath(path) + os.sep for path in map(sysconfig.get_path, kinds)})


def is_of_the_user(path: str) -> bool:
    """Returns whether a file is the user's own, and not installed."""
    installed = ("site-packages", "dist-packages")
    return not path.startswith(installed_directories()) and not any(part in installed for part in path.split(os.sep))


@functools.lru_cache(4)
def directories_of_the_user(searched: tuple[str, ...]) -> tuple[str, ...]:
    found = map(os.path.realpath, searched)
    return tuple(path for path in found if is_of_the_user(os.path.join(path, "")))


# The files stay the same while one file and its imports are read.
@functools.lru_cache(None)
def find_module(name: str, directories: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the user's files that importing `name` runs, its own last; nothing if it is not in these directories."""
    if not NAME.fullmatch(name):
        return ()
    for directory in directories:
        files: list[str] = []
        place = directory
        for part in name.split("."):
            if files and not files[-1].endswith("__init__.py"):
                files = []
                break
            place = os.path.join(place, part)
            found = [file for file in (os.path.join(place, "__init__.py"), f"{place}.py") if os.path.isfile(file)]
            if not found and not os.path.isdir(place):
                files = []
                break
            files += found[:1]
        if files:
            return tuple(filter(is_of_the_user, map(os.path.realpath, files)))
    return ()


def parts_of_images(source: Source) -> set[ast.AST]:
    """Returns the expressions of secrets that only images need, and the assignments of names that stand for them alone."""
    if not any(name.encode() in source.text for name in OF_IMAGES):
        return set()
    nodes = list(ast.walk(source.tree))
    found: set[ast.AST] = {node for node in nodes if isinstance(node, ast.keyword) and node.arg in OF_IMAGES}
    within = {inner for node in found for inner in ast.walk(node)}
    loaded = [node for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)]
    names = {node.id for node in loaded if node in within} - {node.id for node in loaded if node not in within}
    for node in nodes:
        targets = node.targets if isinstance(node, ast.Assign) else ()
        if targets and all(isinstance(target, ast.Name) and target.id in names for target in targets):
            found.add(node)
    return found


class Source:
    """A file of the user's, read and never run."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.texts: dict[ast.expr, str | None] = {}
        with open(path, "rb") as file:
            self.text = file.read()

    @functools.cached_property
    def tree(self) -> ast.Module:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python shows them when it compiles the file.
            try:
                return ast.parse(self.text, self.path)
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                return ast.Module(body=[], type_ignores=[])  # Python shows the error when it runs the file.

    @functools.cached_property
    def constants(self) -> dict[str, ast.expr | None]:
        """The expressions that names of the module are bound to; None for a name that is bound more than once."""
        bound: dict[str, ast.expr | None] = {}
        for node in self.tree.body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            for target in targets:
                if isinstance(target, ast.Name):
                    is_first = target.id not in bound and isinstance(node, (ast.Assign, ast.AnnAssign))
                    bound[target.id] = getattr(node, "value", None) if is_first else None
        return bound

    @functools.cached_property
    def imported(self) -> dict[str, tuple[int, str, str | None]]:
        """By the name in this file: the level and the name of the module, and its attribute, None for the module itself."""
        names: dict[str, tuple[int, str, str | None]] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    first = alias.name.split(".")[0]
                    names[alias.asname or first] = (0, alias.name if alias.asname else first, None)
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    names[alias.asname or alias.name] = (node.level, node.module or "", alias.name)
        return names

    def directories(self, level: int) -> tuple[str, ...]:
        """Returns the directories where an import of this level begins."""
        if level:
            directory = os.path.dirname(self.path)
            for _ in range(level - 1):
                directory = os.path.dirname(directory)
            return (directory,)
        own, others = os.path.dirname(self.path), directories_of_the_user(tuple(sys.path))
        return others if others[:1] == (own,) else (own, *others)

    def imports(self) -> Iterator[str]:
        """Yields the user's files that this one imports, in any way. Does not use the tree, which costs more."""
        named: dict[tuple[int, str], None] = {}
        for match in IMPORT.finditer(self.text):
            module, names, modules = (part.decode("utf-8", "replace") if part else "" for part in match.groups())
            if modules:
                named.update(((0, name.split()[0]), None) for name in modules.split(",") if name.split())
                continue
            level = len(module) - len(module.lstrip("."))
            named[level, module[level:]] = None
            if "#" in names:
                names = re.sub(r"#.*", "", names)
            for name in names.strip("()").split(","):
                if name.split():
                    named[level, f"{module[level:]}.{name.split()[0]}".lstrip(".")] = None
        top = self.directories(0)
        for level, name in named:
            yield from find_module(name, top) if level == 0 else self.find(level, name)

    def find(self, level: int, name: str) -> Sequence[str]:
        if level and not name:
            package = [os.path.join(directory, "__init__.py") for directory in self.directories(level)]
            return [os.path.realpath(file) for file in package if os.path.isfile(file)]
        return find_module(name, self.directories(level))


class Scan:
    """Provides the secrets that files declare, each once, before their code runs."""

    def __init__(self, secrets: Secrets, flyte: Sdk) -> None:
        self._secrets = secrets
        self._flyte = flyte
        self._sources: dict[str, Source | None] = {}
        self._scanned: set[str] = set()

    def hook(self) -> None:
        loader, finder = importlib.machinery.SourceFileLoader, importlib.machinery.FileFinder
        get_code, find_spec = loader.get_code, finder.find_spec

        @functools.wraps(get_code)
        def get_code_after_secrets(self_: importlib.machinery.SourceFileLoader, fullname: str) -> Any:
            self.before(self_.get_filename(fullname))
            return get_code(self_, fullname)

        @functools.wraps(find_spec)
        def find_spec_after_secrets(self_: importlib.machinery.FileFinder, *args: Any, **kwargs: Any) -> ModuleSpec | None:
            # pytest compiles test modules itself; it finds them this way.
            spec = find_spec(self_, *args, **kwargs)
            if spec is not None and spec.has_location and spec.origin is not None and spec.origin.endswith(".py"):
                self.before(spec.origin)
            return spec

        setattr(loader, "get_code", get_code_after_secrets)
        setattr(finder, "find_spec", find_spec_after_secrets)

    def before(self, path: str) -> None:
        """Provides the secrets that `path` and its imports declare. Called before the code of `path` runs."""
        if path in self._scanned or not is_of_the_user(path):
            return
        self._scanned.add(path)
        if not is_of_the_user(path) or not is_of_the_user(path := os.path.realpath(path)):
            return
        find_module.cache_clear()
        declared: list[Secret] = []
        queue, seen = collections.deque([path]), set[str]()
        while queue and len(seen) < MOST_FILES:
            path = queue.popleft()
            if path in seen:
                continue
            seen.add(path)
            source = self._source(path)
            # The secrets of a file that another one imports are provided already.
            if source is None or (path in self._scanned and len(seen) > 1):
                continue
            self._scanned.add(path)
            queue += source.imports()
            if (b"Secret" in source.text or b"secrets" in source.text) and DECLARES.search(source.text):
                declared += self._declared(source)
        scanned.extend(declared)
        self._secrets.provide(declared)

    def _source(self, path: str) -> Source | None:
        if path not in self._sources:
            try:
                self._sources[path] = Source(path)
            except OSError:
                self._sources[path] = None
        return self._sources[path]

    def _declared(self, source: Source) -> list[Secret]:
        """Returns the secrets that the file declares: of one variable, the declaration that is furthest out and first."""
        found: list[tuple[int, Secret]] = []
        of_images = parts_of_images(source)
        queue: collections.deque[tuple[ast.AST, int]] = collections.deque([(source.tree, 0)])
        while queue:
            node, depth = queue.popleft()
            if node in of_images:
                continue
            if isinstance(node, ast.Call):
                found += [(depth, secret) for secret in self._of_call(source, node)]
            inner = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda))
            queue += [(child, depth + inner) for child in ast.iter_child_nodes(node) if not isinstance(child, LEAVES)]
        by_variable: dict[object, Secret] = {}
        for _, secret in sorted(found, key=lambda pair: pair[0]):
            by_variable.setdefault(secret.as_env_var or (secret.key, secret.group), secret)
        return list(by_variable.values())

    def _of_call(self, source: Source, call: ast.Call) -> Iterator[Secret]:
        values = {keyword.arg: keyword.value for keyword in call.keywords}
        if self._is_secret(source, call.func):
            values.update(zip(("key", "group", "mount", "as_env_var"), call.args))
            secret = self._secret(source, values)
            if secret is not None:
                yield secret
        for key in self._keys(source, values.get("secrets")):
            yield from self._made(key=key)

    def _is_secret(self, source: Source, function: ast.expr | None) -> bool:
        """Returns whether this is `flyte.Secret`, by whatever name; one of another package is not."""
        if isinstance(function, ast.Name) and isinstance(source.constants.get(function.id), (ast.Name, ast.Attribute)):
            function = source.constants[function.id]
        if isinstance(function, ast.Name):
            level, module, name = source.imported.get(function.id, (0, "", None))
        elif isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
            level, module, within = source.imported.get(function.value.id, (0, "", None))
            module, name = f"{module}.{within}" if within else module, function.attr
        else:
            return False
        return name == "Secret" and (module.split(".")[0] == "flyte" or bool(source.find(level, module)))

    def _secret(self, source: Source, values: dict[str | None, ast.expr]) -> Secret | None:
        """Returns the secret of a call with these expressions, if everything that decides where it goes is constant."""
        words: dict[str, str | None] = {}
        for name in ("key", "group", "as_env_var"):
            if name in values and not is_constant_none(values[name]):
                words[name] = self._text(source, values[name])
        if words.get("key") is None or words.get("as_env_var", "") is None:
            return None
        if words.get("group", "") is None:
            if "as_env_var" not in words and "mount" not in values:
                return None
            del words["group"]
        if "mount" in values and not is_constant_none(values["mount"]):
            words["mount"] = MOUNT  # The only one that the SDK accepts.
        return next(self._made(**words), None)

    def _made(self, **words: str | None) -> Iterator[Secret]:
        try:
            yield self._flyte.Secret(**words)
        except (TypeError, ValueError):
            pass  # The user's own call raises the same.

    def _keys(self, source: Source, node: ast.expr | None, depth: int = 0) -> list[str]:
        """Returns the strings in a value of `secrets=`."""
        node, source = self._bound(source, node)
        if isinstance(node, (ast.List, ast.Tuple)) and depth < 5:
            return [key for item in node.elts for key in self._keys(source, item, depth + 1)]
        if isinstance(node, ast.BinOp) and depth < 5:
            key = self._text(source, node)
            if key is None:
                return [k for side in (node.left, node.right) for k in self._keys(source, side, depth + 1)]
            return [key]
        key = self._text(source, node)
        return [] if key is None else [key]

    def _bound(self, source: Source, node: ast.expr | None, hops: int = 0) -> tuple[ast.expr | None, Source]:
        """Follows a name, across modules, to the expression it is bound to, and to that expression's file."""
        if hops == 10:
            return None, source
        if isinstance(node, ast.Name) and node.id in source.constants:
            return self._bound(source, source.constants[node.id], hops + 1)
        if isinstance(node, ast.Name) and node.id in source.imported:
            level, module, name = source.imported[node.id]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in source.imported:
            level, module, within = source.imported[node.value.id]
            module, name = f"{module}.{within}".strip(".") if within else module, node.attr
        else:
            return node, source
        files = source.find(level, module)
        other = self._source(files[-1]) if files else None
        if name is None or other is None:
            return None, source
        known = name in other.constants or name in other.imported
        return self._bound(other, ast.Name(name), hops + 1) if known else (None, other)

    def _text(self, source: Source, node: ast.expr | None, depth: int = 0) -> str | None:
        """Returns the string that an expression stands for, or None."""
        node, source = self._bound(source, node)
        if isinstance(node, ast.Constant):
            return node.value if isinstance(node.value, str) else None
        if depth == 50 or not isinstance(node, (ast.BinOp, ast.JoinedStr, ast.FormattedValue)):
            return None
        # A name that many expressions hold, which others hold in turn, is put together once.
        if node not in source.texts:
            source.texts[node] = self._put_together(source, node, depth)
        return source.texts[node]

    def _put_together(self, source: Source, node: ast.expr, depth: int) -> str | None:
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            parts = [self._text(source, side, depth + 1) for side in (node.left, node.right)]
        elif isinstance(node, ast.JoinedStr):
            parts = [self._text(source, part, depth + 1) for part in node.values]
        elif isinstance(node, ast.FormattedValue) and node.conversion == -1 and node.format_spec is None:
            return self._text(source, node.value, depth + 1)
        else:
            return None
        known = [part for part in parts if part is not None]
        text = "".join(known)
        return text if len(known) == len(parts) and len(text) <= LONGEST_TEXT else None
