"""Lets Python processes that the programs of a run start join it, if they import `flyte`: the kernel of a notebook, for one.

`PYTHONPATH` leads them to `join.py`, which stands for the package. It is in an archive in memory that only this process holds.
So it is on no disk, and gone with the run. A process that does not import `flyte` reads the archive's list of one file.
"""

from __future__ import annotations

import binascii
import contextlib
import os
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# The path at which processes that this one starts find the archive; empty if they cannot join.
place = ""

# The process that holds the archive open, and its descriptor.
holder: tuple[int, int] | None = None


def archive(name: str, content: bytes) -> bytes:
    """Returns a ZIP archive with one file, uncompressed."""
    file, checksum, size = name.encode(), binascii.crc32(content), len(content)
    first_day = 1 << 5 | 1  # The first of January 1980
    header = struct.pack("<5H3I2H", 20, 0, 0, 0, first_day, checksum, size, size, len(file), 0)
    local = b"PK\3\4" + header + file + content
    entry = b"PK\1\2" + struct.pack("<H", 20) + header + struct.pack("<3H2I", 0, 0, 0, 0, 0) + file
    return local + entry + b"PK\5\6" + struct.pack("<4H2IH", 0, 0, 1, 1, len(entry), len(local), 0)


def invite(program: str) -> None:
    """Leads the processes that start from here on to `program`, which stands for the package `flyte`."""
    global holder
    descriptor = os.memfd_create("flyte-local")
    holder = os.getpid(), descriptor
    with open(descriptor, "wb", closefd=False) as file:
        file.write(archive("flyte.py", program.encode()))
    lead_to(f"/proc/{os.getpid()}/fd/{descriptor}")


def uninvited(search_path: str) -> str:
    """Returns a value of `PYTHONPATH` without the place: Python processes that start with it do not join."""
    return os.pathsep.join(entry for entry in search_path.split(os.pathsep) if entry != place)


@contextlib.contextmanager
def kept_open() -> Iterator[None]:
    """Keeps the archive open if this process executes another program in its place, as the command `jupyter` does.

    No other program inherits the descriptor.
    """
    if holder is None or holder[0] != os.getpid():
        yield
        return
    os.set_inheritable(holder[1], True)
    try:
        yield
    finally:
        os.set_inheritable(holder[1], False)


def lead_to(directory: str) -> None:
    """Has the processes that start from here on import from this place first."""
    global place
    place = directory
    others = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    os.environ["PYTHONPATH"] = os.pathsep.join([place, *(other for other in others if other and other != place)])
