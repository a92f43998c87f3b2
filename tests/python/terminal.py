"""Plays a session on a terminal of its own, and tells as JSON what came of it.

    python3 terminal.py STEPS COMMAND [ARGS…]

STEPS is a JSON list, played in order; each step is a list:

    ["expect", TEXT]      waits until TEXT has been shown, after what earlier steps waited for
    ["type", TEXT]        types it
    ["resize", ROWS, COLUMNS]
    ["signal", NUMBER]    to the command's process
    ["group", NUMBER]     to its process group
    ["hang up"]           closes the terminal
    ["end"]               waits until the command has ended

The result: `shown`, `code` (128 and the signal's number, if one ended it), and `settings_are_back`.
"""

import fcntl
import json
import os
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time

LIMIT = 60


class Session:
    def __init__(self, command):
        self.keyboard, terminal = os.openpty()
        self.terminal = os.ttyname(terminal)
        self.kept = terminal
        self.resize(24, 80)
        self.before = termios.tcgetattr(terminal)
        self.shown, self.seen = b"", 0

        def take_terminal():
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.child = subprocess.Popen(
            command, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True, preexec_fn=take_terminal
        )
        self.deadline = time.monotonic() + LIMIT

    def resize(self, rows, columns):
        fcntl.ioctl(self.keyboard, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self, wait):
        if self.keyboard is None:
            time.sleep(wait)
            return False
        if not select.select([self.keyboard], [], [], wait)[0]:
            return False
        self.shown += os.read(self.keyboard, 65536)
        return True

    def wait(self, what, is_done):
        while not is_done():
            self.read(0.01)
            if time.monotonic() > self.deadline:
                self.child.kill()
                sys.exit(f"waited too long for {what!r}; shown: {self.shown!r}")

    def expect(self, text):
        text = text.encode()
        self.wait(text.decode(), lambda: text in self.shown[self.seen :])
        self.seen = self.shown.index(text, self.seen) + len(text)

    def type(self, text):
        os.write(self.keyboard, text.encode())

    def signal(self, number):
        os.kill(self.child.pid, number)

    def group(self, number):
        os.killpg(self.child.pid, number)

    def hang_up(self):
        os.close(self.kept)
        os.close(self.keyboard)
        self.keyboard = None

    def end(self):
        self.wait("the end", lambda: self.child.poll() is not None)
        while self.read(0):
            pass

    def result(self):
        code = self.child.returncode
        settings = None
        if self.keyboard is not None:
            settings = termios.tcgetattr(self.kept) == self.before
        return {
            "shown": self.shown.decode("utf-8", "replace"),
            "code": code if code is None or code >= 0 else 128 - code,
            "settings_are_back": settings,
        }


def main():
    session = Session(sys.argv[2:])
    for step, *arguments in json.loads(sys.argv[1]):
        getattr(session, step.replace(" ", "_"))(*arguments)
    print(json.dumps(session.result()))


main()
