"""Leads Python's own functions on paths from where a cluster mounts file secrets to where this run has them.

For a system that forbids the private mount. What opens files without Python (another program, a C library) is not led.
"""

import errno
import functools
import os
import sys

MOUNTED = "/etc/flyte/secrets"

# Functions that look, by their parameter for the path, and those that change something, by the positions of theirs. A
# link's first path is only text.
LOOKING = {
    "path": "access chdir getxattr listdir listxattr lstat open pathconf readlink scandir stat statvfs".split(),
    "file": ["open"],
}
CHANGING = {
    (0,): "chflags chmod chown lchflags lchmod lchown mkdir mkfifo mknod remove removexattr rmdir setxattr truncate unlink "
    "utime".split(),
    (0, 1): "link rename replace".split(),
    (1,): ["symlink"],
}


class Places:
    """Where a path leads."""

    def __init__(self, directory):
        self._directory = directory
        self._parent = os.path.dirname(MOUNTED)
        self._lacks_parent = not os.path.lexists(self._parent)

    def lead(self, path, with_parent=False):
        """Where the secret or the directory is that `path` names, of the same type; `None` for any other path."""
        if isinstance(path, int):
            return None
        try:
            text = os.fspath(path)
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
    """Stands for a function of Python's. Not a function itself, as those become methods where a class holds them."""

    def __init__(self, function, module, places):
        functools.update_wrapper(self, function)
        self.__module__ = module
        self._function = function
        self._places = places

    def __repr__(self):
        return repr(self._function)

    def __reduce__(self):
        return self.__name__


class Looking(Function):
    def __init__(self, function, module, places, parameter):
        super().__init__(function, module, places)
        self._parameter = parameter
        self._with_parent = function in (os.access, os.lstat, os.stat)

    def __call__(self, *args, **kwargs):
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

    def _lead(self, given, directory):
        if directory is not None and not os.path.isabs(given):
            return None
        return self._places.lead(given, self._with_parent)

    def _look(self, given, led, args, kwargs):
        return self._function(*args, **kwargs)


class Access(Looking):
    def _look(self, given, led, args, kwargs):
        mode = args[1] if len(args) > 1 else kwargs.get("mode", 0)
        return not mode & os.W_OK and self._function(*args, **kwargs)


class Open(Looking):
    """Both of them: `open` has a mode in words, `os.open` flags."""

    def _look(self, given, led, args, kwargs):
        if self._parameter == "file":
            mode = args[1] if len(args) > 1 else kwargs.get("mode", "r")
            writes, creates = set(mode) & set("wax+"), "r" not in mode
        else:
            flags = args[1] if len(args) > 1 else kwargs.get("flags", 0)
            writes, creates = flags & (os.O_WRONLY | os.O_RDWR | os.O_TRUNC | os.O_CREAT), flags & os.O_CREAT
        if writes and (creates or os.path.lexists(led)):
            raise read_only(given)
        return self._function(*args, **kwargs)


class Scandir(Looking):
    def _look(self, given, led, args, kwargs):
        return Entries(self._function(*args, **kwargs), os.fspath(given))


class Entries:
    """What `os.scandir` returns, with the paths that were asked for."""

    def __init__(self, entries, top):
        self._entries = entries
        self._top = top
        self.close = entries.close

    def __iter__(self):
        return self

    def __next__(self):
        return Entry(next(self._entries), self._top)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Entry:
    def __init__(self, entry, top):
        self._entry = entry
        self.path = os.path.join(top, entry.name)

    def __fspath__(self):
        return self.path

    def __getattr__(self, name):
        return getattr(self._entry, name)

    def __repr__(self):
        return repr(self._entry)


class Changing(Function):
    def __init__(self, function, module, places, positions):
        super().__init__(function, module, places)
        self._positions = positions

    def __call__(self, *args, **kwargs):
        named = list(args) + list(kwargs.values()) if kwargs else args
        for position in self._positions:
            if position < len(named) and self._places.lead(named[position]) is not None:
                raise read_only(named[position])
        return self._function(*args, **kwargs)


def read_only(path):
    """What a read-only mount says."""
    return OSError(errno.EROFS, os.strerror(errno.EROFS), path)


def lead_to(directory):
    """Puts led functions in the place of Python's own, wherever a module or a class has taken hold of them already."""
    import builtins

    places = Places(directory)
    kinds = {"access": Access, "open": Open, "scandir": Scandir}
    led = {}
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

    for supporting in (os.supports_dir_fd, os.supports_effective_ids, os.supports_fd, os.supports_follow_symlinks):
        supporting.update([led[function] for function in supporting if function in led])
    originals = ("_flyte_local.redirect", "_io", "nt", "posix")
    holders = [module for name, module in list(sys.modules.items()) if name not in originals]
    # The classes of the standard library that keep them: of Python 3.10, and of 3.13 and later.
    for module, name in (("pathlib", "_NormalAccessor"), ("glob", "_StringGlobber")):
        holders.append(getattr(sys.modules.get(module), name, None))
    for holder in holders:
        for name, value in list(getattr(holder, "__dict__", {}).items()):
            function = value.__func__ if isinstance(value, staticmethod) else value
            if type(function).__name__ == "builtin_function_or_method" and function in led:
                setattr(holder, name, led[function] if function is value else staticmethod(led[function]))
