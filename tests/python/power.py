"""Shuts file systems down as a power cut would: for each line `FLAGS PATH`, the one that PATH lies on; answers `cut`.

The part of the log that is only in memory is lost (FLAGS 2), or is written first, as the kernel may do at any moment (1).
"""

import fcntl
import os
import struct
import sys

EXT4_IOC_SHUTDOWN = 0x8004587D

for line in sys.stdin:
    flags, path = line.rstrip("\n").split(" ", 1)
    directory = os.open(path, os.O_RDONLY)
    fcntl.ioctl(directory, EXT4_IOC_SHUTDOWN, struct.pack("I", int(flags)))
    os.close(directory)
    print("cut", flush=True)
