"""Errors of secrets are shown without a traceback, and others without flyte-local's frames."""

import asyncio
import logging
import sys
import traceback
from collections.abc import Iterator
from types import SimpleNamespace, TracebackType
from typing import Any

import pytest

from flyte_local.bootstrap import errors


class RuntimeUserError(Exception):
    """Stands for the SDK's error, which has a code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class NonRecoverableError(RuntimeUserError):
    """Stands for the error of newer SDKs, whose arguments are the other way round."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(code, message)


OLDEST: Any = SimpleNamespace(errors=SimpleNamespace(RuntimeUserError=RuntimeUserError))
NEWEST: Any = SimpleNamespace(
    errors=SimpleNamespace(RuntimeUserError=RuntimeUserError, NonRecoverableError=NonRecoverableError)
)


def raised_below_own_frames(error: Exception) -> TracebackType:
    """Raises an error in a function that code of flyte-local calls, and returns the traceback."""

    def users() -> None:
        raise error

    own: dict[str, Any] = {}
    exec(compile("def call(function):\n    function()\n", errors.OWN, "exec"), own)
    try:
        own["call"](users)
    except Exception as caught:
        assert caught.__traceback__ is not None
        return caught.__traceback__
    raise AssertionError("nothing was raised")


def functions(found: TracebackType | None) -> list[str]:
    return [frame.name for frame in traceback.extract_tb(found)]


@pytest.mark.parametrize("flyte", [OLDEST, NEWEST])
def test_an_error_of_a_secret_is_known_by_its_code(flyte: Any) -> None:
    assert errors.is_secret_error(flyte, errors.secret_error(flyte, "it is missing"))
    assert errors.is_secret_error(flyte, errors.secret_error(flyte, "it leaks", errors.RETURNED))
    assert errors.is_secret_error(flyte, RuntimeUserError("SecretUnavailable", "as a caller gets it"))
    assert not errors.is_secret_error(flyte, RuntimeUserError("ValueError", "the user's"))
    assert not errors.is_secret_error(flyte, ValueError("SecretUnavailable"))
    assert not errors.is_secret_error(flyte, None)


def test_an_error_of_a_secret_is_not_worth_a_retry_where_the_sdk_has_such_errors() -> None:
    assert type(errors.secret_error(NEWEST, "it is missing")) is NonRecoverableError
    assert type(errors.secret_error(OLDEST, "it is missing")) is RuntimeUserError


def test_own_frames_are_left_out_wherever_they_are() -> None:
    found = raised_below_own_frames(ValueError())
    assert functions(found) == ["raised_below_own_frames", "call", "users"]
    assert functions(errors.without_own_frames(found)) == ["raised_below_own_frames", "users"]


def test_a_traceback_of_nothing_but_own_frames_is_kept() -> None:
    own: dict[str, Any] = {}
    exec(compile("def call():\n    raise ValueError\n", errors.OWN, "exec"), own)
    with pytest.raises(ValueError) as raised:
        own["call"]()
    assert raised.value.__traceback__ is not None
    inner = raised.value.__traceback__.tb_next
    assert functions(errors.without_own_frames(inner)) == ["call"]
    assert errors.without_own_frames(None) is None


@pytest.fixture
def log() -> Iterator[list[logging.LogRecord]]:
    """Returns the records that the SDK's log shows."""
    shown: list[logging.LogRecord] = []
    logger, handler = logging.getLogger("flyte"), logging.Handler()
    setattr(handler, "emit", shown.append)
    logger.addHandler(handler)
    filters, propagate = list(logger.filters), logger.propagate
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    errors.hook_log(NEWEST)
    yield shown
    logger.removeHandler(handler)
    logger.filters, logger.propagate = filters, propagate
    logger.setLevel(logging.NOTSET)


def record(error: Exception) -> None:
    found = raised_below_own_frames(error)
    logging.getLogger("flyte").error("Task failed", exc_info=(type(error), error, found))


def test_the_log_leaves_out_errors_of_secrets(log: list[logging.LogRecord]) -> None:
    record(errors.secret_error(NEWEST, "it is missing"))
    assert log == []


def test_the_log_shows_other_errors_without_own_frames(log: list[logging.LogRecord]) -> None:
    record(ValueError("the user's"))
    assert len(log) == 1 and log[0].exc_info is not None
    assert functions(log[0].exc_info[2]) == ["raised_below_own_frames", "users"]


def test_the_log_shows_what_has_no_error(log: list[logging.LogRecord]) -> None:
    logging.getLogger("flyte").warning("a warning")
    assert [shown.getMessage() for shown in log] == ["a warning"]


def test_all_is_shown_where_the_log_is_at_debug(log: list[logging.LogRecord]) -> None:
    logging.getLogger("flyte").setLevel(logging.DEBUG)
    record(errors.secret_error(NEWEST, "it is missing"))
    assert log[0].exc_info is not None
    assert functions(log[0].exc_info[2]) == ["raised_below_own_frames", "call", "users"]


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Returns the functions of each traceback that the hook of before shows."""
    found: list[list[str]] = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, error, trace: found.append(functions(trace)))
    errors.hook_excepthook(NEWEST)
    return found


def test_an_error_of_a_secret_ends_the_run_without_a_traceback(
    shown: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    error = errors.secret_error(NEWEST, "secret x is missing\nhint: create it")
    sys.excepthook(type(error), error, raised_below_own_frames(error))
    assert (shown, capsys.readouterr().err) == ([], "error: secret x is missing\nhint: create it\n")


class Runner:
    """Stands for what the SDK runs tasks and serves apps with, which fails."""

    def __init__(self, error: Exception) -> None:
        class Call:
            other = 1

            def __call__(self) -> None:
                raise error

            async def aio(self) -> None:
                raise error

        self.run = self.serve = Call()


def runner_made_by(module: str, error: Exception, context: str) -> Any:
    """Returns the runner that code of a module gets."""

    def make() -> Runner:
        return Runner(error)

    flyte: Any = SimpleNamespace(errors=NEWEST.errors, with_runcontext=make, with_servecontext=make)
    errors.hook_command(flyte)
    return eval(f"flyte.{context}()", {"__name__": module, "flyte": flyte})


@pytest.mark.parametrize(
    ("module", "error", "raised", "shown"),
    [
        ("flyte.cli._run", errors.secret_error(NEWEST, "it is missing"), SystemExit, "error: it is missing\n"),
        ("flyte.cli._run", ValueError("the user's"), ValueError, ""),
        ("__main__", errors.secret_error(NEWEST, "it is missing"), NonRecoverableError, ""),
    ],
)
def test_only_an_error_of_a_secret_ends_only_the_command_of_the_sdk(
    module: str, error: Exception, raised: type[BaseException], shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = runner_made_by(module, error, "with_runcontext").run
    serve = runner_made_by(module, error, "with_servecontext").serve
    for call in (lambda: asyncio.run(run.aio()), serve):
        with pytest.raises(raised):
            call()
        assert capsys.readouterr().err == shown
    assert (run.other, serve.other) == (1, 1)


def test_another_error_ends_the_run_with_the_users_traceback(shown: list[list[str]]) -> None:
    error = ValueError("the user's")
    sys.excepthook(type(error), error, raised_below_own_frames(error))
    assert shown == [["raised_below_own_frames", "users"]]
