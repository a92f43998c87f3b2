"""Plays a session on a new terminal, and prints the result as JSON.

    python3 terminal.py STEPS COMMAND [ARGS…]

STEPS is a JSON list, played in order; each step is a list:

    ["expect", TEXT]        waits until TEXT has been shown, after the text that earlier steps waited for
    ["find", NAME, REGEX]   the same; the process id that its group finds is called NAME from then on
    ["type", TEXT]          types it
    ["bytes", HEX]          types bytes
    ["taken"]               waits until the command has read what was typed
    ["resize", ROWS, COLUMNS]
    ["kill", WHOM, NUMBER]  sends a signal: to "command", to its process group ("group"), or to a process that was found
    ["stop"]                SIGTSTP to the process group in the foreground, as another process might send it
    ["gone", NAME]          waits until a process that was found has ended
    ["stopped", NAME]       waits until a process that was found is stopped
    ["settings", HOW]       waits until the terminal's settings are as at first ("back"), or not ("raw")
    ["wait for", FILE]      waits until a file exists
    ["hang up"]             closes the terminal
    ["end"]                 waits until the command has ended

The result: `shown`, `hex` (the same), `code` (128 and the signal's number, if one ended it), and `settings_are_back`.
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


def state(process):
    try:
        with open(f"/proc/{process}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return None


class Session:
    def __init__(self, command):
        self.keyboard, terminal = os.openpty()
        self.kept = terminal
        self.resize(24, 80)
        self.before = termios.tcgetattr(terminal)
        self.shown, self.seen = b"", 0
        self.processes = {}

        def take_terminal():
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.child = subprocess.Popen(
            command, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True, preexec_fn=take_terminal
        )
        self.processes["command"] = self.child.pid
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

    def find(self, name, pattern):
        found = re.compile(pattern.encode())
        self.wait(pattern, lambda: found.search(self.shown, self.seen))
        match = found.search(self.shown, self.seen)
        self.processes[name], self.seen = int(match[1]), match.end()

    def type(self, text):
        self.bytes(text.encode().hex())

    def bytes(self, text):
        os.write(self.keyboard, bytes.fromhex(text))

    def taken(self):
        def is_empty():
            return struct.unpack("i", fcntl.ioctl(self.kept, termios.FIONREAD, b"\0" * 4)) == (0,)

        self.wait("its reading", is_empty)

    def kill(self, whom, number):
        if whom == "group":
            os.killpg(self.child.pid, number)
        else:
            os.kill(self.processes[whom], number)

    def gone(self, name):
        self.wait(f"the end of {name}", lambda: state(self.processes[name]) in (None, "Z"))

    def stopped(self, name):
        self.wait(f"the stop of {name}", lambda: state(self.processes[name]) == "T")

    def settings(self, how):
        self.wait(f"settings: {how}", lambda: self.are_back() == (how == "back"))

    def are_back(self):
        return termios.tcgetattr(self.kept) == self.before

    def wait_for(self, file):
        self.wait(file, lambda: os.path.exists(file))

    def stop(self):
        os.killpg(os.tcgetpgrp(self.keyboard), signal.SIGTSTP)

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
        return {
            "shown": self.shown.decode("utf-8", "replace"),
            "hex": self.shown.hex(),
            "code": code if code is None or code >= 0 else 128 - code,
            "settings_are_back": None if self.keyboard is None else self.are_back(),
        }


def main():
    session = Session(sys.argv[2:])
    for step, *arguments in json.loads(sys.argv[1]):
        getattr(session, step.replace(" ", "_"))(*arguments)
    print(json.dumps(session.result()))


main()
