"""Leads Python's own functions on paths from where a cluster mounts file secrets to where this run has them.

For a system that forbids the private mount. Code that opens files without Python (another program, a C library) is not led.
"""

from __future__ import annotations

import errno
import functools
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

MOUNTED = "/etc/flyte/secrets"

# Functions that look, by the name of their path parameter, and those that change something, by the positions of their paths.
# A link's first path is only text.
LOOKING = {
    "path": [
        *("access", "chdir", "getxattr", "listdir", "listxattr", "lstat", "open", "pathconf", "readlink", "scandir"),
        *("stat", "statvfs"),
    ],
    "file": ["open"],
}
CHANGING: dict[tuple[int, ...], list[str]] = {
    (0,): [
        *("chflags", "chmod", "chown", "lchflags", "lchmod", "lchown", "mkdir", "mkfifo", "mknod", "remove", "removexattr"),
        *("rmdir", "setxattr", "truncate", "unlink", "utime"),
    ],
    (0, 1): ["link", "rename", "replace"],
    (1,): ["symlink"],
}


class Places:
    """The directory that secrets are mounted in, and the one that they lie in."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._parent = os.path.dirname(MOUNTED)
        self._lacks_parent = not os.path.lexists(self._parent)

    def lead(self, path: Any, with_parent: bool = False) -> str | bytes | None:
        """Returns where the secret or the directory lies that `path` names, as the same type; `None` for any other path."""
        if isinstance(path, int):
            return None
        try:
            text: str | bytes = os.fspath(path)
        except TypeError:  # For the function itself to refuse.
            return None
        decoded = os.fsdecode(text)
        if "flyte" not in decoded:  # So that all others cost little.
            return None
        absolute = "/" + os.path.abspath(decoded).lstrip("/")
        for place in (MOUNTED, self._directory):
            if absolute == place or absolute.startswith(place + "/"):
                found = self._directory + absolute[len(place) :]
                break
        else:
            if not (with_parent and self._lacks_parent and absolute == self._parent):
                return None
            found = self._directory  # A directory like the one that is not there.
        return os.fsencode(found) if isinstance(text, bytes) else found


class Function:
    """Stands for a function of Python's. Not a function itself, as functions become methods where a class holds them."""

    __name__: str

    def __init__(self, function: Callable[..., Any], module: str, places: Places) -> None:
        functools.update_wrapper(self, function)
        self.__module__ = module
        self._function = function
        self._places = places

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)

    def __repr__(self) -> str:
        return repr(self._function)

    def __reduce__(self) -> str:
        return self.__name__


class Looking(Function):
    """A function that looks at one path."""

    def __init__(self, function: Callable[..., Any], module: str, places: Places, parameter: str) -> None:
        super().__init__(function, module, places)
        self._parameter = parameter
        self._with_parent = function in (os.access, os.lstat, os.stat)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        given = args[0] if args else kwargs.get(self._parameter)
        led = None if given is None else self._lead(given, kwargs.get("dir_fd"))
        if led is None:
            return self._function(*args, **kwargs)
        if args:
            args = (led, *args[1:])
        else:
            kwargs[self._parameter] = led
        try:
            return self._look(given, led, args, kwargs)
        except OSError as error:
            error.filename = given
            raise

    def _lead(self, given: Any, directory: int | None) -> str | bytes | None:
        if directory is not None and not os.path.isabs(given):
            return None
        return self._places.lead(given, self._with_parent)

    def _look(self, given: Any, led: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self._function(*args, **kwargs)


class Access(Looking):
    """Stands for `os.access`, to which nothing is writable."""

    def _look(self, given: Any, led: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        mode = args[1] if len(args) > 1 else kwargs.get("mode", 0)
        return not mode & os.W_OK and self._function(*args, **kwargs)


class Open(Looking):
    """Stands for `open`, which has a mode in words, and `os.open`, which has flags."""

    def _look(self, given: Any, led: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._parameter == "file":
            mode = args[1] if len(args) > 1 else kwargs.get("mode", "r")
            writes, creates = bool(set(mode) & set("wax+")), "r" not in mode
        else:
            flags = args[1] if len(args) > 1 else kwargs.get("flags", 0)
            changing = os.O_WRONLY | os.O_RDWR | os.O_TRUNC | os.O_CREAT
            writes, creates = bool(flags & changing), bool(flags & os.O_CREAT)
        if writes and (creates or os.path.lexists(led)):
            raise read_only(given)
        return self._function(*args, **kwargs)


class Scandir(Looking):
    """Stands for `os.scandir`."""

    def _look(self, given: Any, led: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return Entries(self._function(*args, **kwargs), os.fspath(given))


class Entries:
    """The iterator that `os.scandir` returns, with the paths that were asked for."""

    def __init__(self, entries: Any, top: Any) -> None:
        self._entries = entries
        self._top = top
        self.close = entries.close

    def __iter__(self) -> Entries:
        return self

    def __next__(self) -> Entry:
        return Entry(next(self._entries), self._top)

    def __enter__(self) -> Entries:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Entry:
    """An entry of a directory, with the path that was asked for."""

    def __init__(self, entry: Any, top: Any) -> None:
        self._entry = entry
        self.path = os.path.join(top, entry.name)

    def __fspath__(self) -> Any:
        return self.path

    def __getattr__(self, name: str) -> Any:
        return getattr(self._entry, name)

    def __repr__(self) -> str:
        return repr(self._entry)


class Changing(Function):
    """A function that changes what its paths name."""

    def __init__(self, function: Callable[..., Any], module: str, places: Places, positions: tuple[int, ...]) -> None:
        super().__init__(function, module, places)
        self._positions = positions

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        named = list(args) + list(kwargs.values()) if kwargs else args
        for position in self._positions:
            if position < len(named) and self._places.lead(named[position]) is not None:
                raise read_only(named[position])
        return self._function(*args, **kwargs)


def read_only(path: Any) -> OSError:
    """Makes the error that a read-only mount raises."""
    return OSError(errno.EROFS, os.strerror(errno.EROFS), path)


def lead_to(directory: str) -> None:
    """Puts led functions in the place of Python's own, wherever a module or a class holds them already."""
    import builtins

    places = Places(directory)
    kinds: dict[str, type[Looking]] = {"access": Access, "open": Open, "scandir": Scandir}
    led: dict[Callable[..., Any], Function] = {}
    for parameter, names in LOOKING.items():
        module = builtins if parameter == "file" else os
        for name in names:
            if hasattr(module, name):
                function = getattr(module, name)
                led[function] = kinds.get(name, Looking)(function, module.__name__, places, parameter)
    for positions, names in CHANGING.items():
        for name in names:
            if hasattr(os, name):
                led[getattr(os, name)] = Changing(getattr(os, name), "os", places, positions)

    supports: Any
    for supports in (os.supports_dir_fd, os.supports_effective_ids, os.supports_fd, os.supports_follow_symlinks):
        supports.update([led[function] for function in supports if function in led])
    originals = (__name__, "_io", "nt", "posix")
    holders: list[Any] = [module for name, module in list(sys.modules.items()) if name not in originals]
    # The classes of the standard library that keep them: of Python 3.10, and of 3.13 and later.
    for module_name, name in (("pathlib", "_NormalAccessor"), ("glob", "_StringGlobber")):
        holders.append(getattr(sys.modules.get(module_name), name, None))
    for holder in holders:
        for name, value in list(getattr(holder, "__dict__", {}).items()):
            function = value.__func__ if isinstance(value, staticmethod) else value
            if type(function).__name__ == "builtin_function_or_method" and function in led:
                setattr(holder, name, led[function] if function is value else staticmethod(led[function]))
