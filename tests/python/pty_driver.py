"""Runs a command on a new terminal, answers its question, and prints the result as JSON.

    python3 pty_driver.py ACTION COMMAND [ARGS…]

ACTION is `type:TEXT` (the inside of a Python string literal) or `signal:NUMBER`, done once the question is shown and the
echo is off; `answers:JSON`, a list of texts, one for each question; or `none`, for a command that is expected to ask nothing.
"""

import ast
import fcntl
import json
import os
import select
import subprocess
import sys
import termios
import time

DEADLINE = time.monotonic() + 30


def echo(terminal):
    return bool(termios.tcgetattr(terminal)[3] & termios.ECHO)


def main():
    action, command = sys.argv[1], sys.argv[2:]
    keyboard, terminal = os.openpty()
    before = termios.tcgetattr(terminal)

    def take_terminal():
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    child = subprocess.Popen(
        command, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True, preexec_fn=take_terminal
    )
    kind, _, argument = action.partition(":")
    left = {"none": [], "answers": json.loads(argument) if kind == "answers" else []}.get(kind, [argument])
    shown, acted, answered = b"", 0, b""
    while True:
        ended = child.poll() is not None
        # A short wait, as a change of the terminal's settings does not wake `select`.
        if select.select([keyboard], [], [], 0 if ended else 0.01)[0]:
            shown += os.read(keyboard, 65536)
        elif ended:
            break
        if left and shown != answered and shown.endswith(b": ") and not echo(terminal):
            acted, answered, argument = acted + 1, shown, left.pop(0)
            if kind == "type":
                os.write(keyboard, ast.literal_eval(f'"{argument}"').encode("utf-8", "surrogateescape"))
            elif kind == "answers":
                os.write(keyboard, argument.encode())
            else:
                os.kill(child.pid, int(argument))
        if time.monotonic() > DEADLINE:
            child.kill()
            sys.exit(f"nothing happened for too long; shown: {shown!r}")
    result = {
        "shown": shown.decode("utf-8", "replace"),
        "code": child.returncode if child.returncode >= 0 else 128 - child.returncode,
        "settings_are_back": termios.tcgetattr(terminal) == before and echo(terminal),
        "asked": acted > 0,
        "questions": acted,
    }
    # The shell reads next the text that was typed and not read.
    os.set_blocking(terminal, False)
    try:
        result["left_over"] = os.read(terminal, 65536).decode("utf-8", "replace")
    except BlockingIOError:
        result["left_over"] = ""
    print(json.dumps(result))


main()
