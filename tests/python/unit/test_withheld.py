"""Which call of the SDK a run keeps from the cluster, by the frames below the error."""

import sys
import types

import pytest

from flyte_local.bootstrap import withheld


@pytest.fixture
def sdk(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A package that has the SDK's shape: private modules, and public names for what they define."""
    flyte = types.ModuleType("flyte")
    remote = types.ModuleType("flyte.remote")
    setattr(flyte, "remote", remote)
    monkeypatch.setitem(sys.modules, "flyte", flyte)
    monkeypatch.setitem(sys.modules, "flyte.remote", remote)
    return flyte


def define(module: str, source: str) -> dict[str, object]:
    """Returns the names that the source defines, as a module of this name would."""
    names: dict[str, object] = {"__name__": module, "called": withheld.called, "sys": sys}
    exec(compile(source, f"{module}.py", "exec"), names)
    return names


def test_a_method_is_named_as_users_import_its_class(sdk: types.ModuleType) -> None:
    initialize = define("flyte._initialize", "def ensure_client():\n    return called(sys._getframe())\n")
    source = "class Run:\n    @classmethod\n    def get(cls):\n        return ensure_client()\n"
    source += "    def cancel(self):\n        return ensure_client()\n"
    run = define("flyte.remote._run", source)
    run["ensure_client"] = initialize["ensure_client"]
    setattr(sdk.remote, "Run", run["Run"])
    users = define("users_module", "def main(Run):\n    return Run.get(), Run().cancel()\n")
    main = users["main"]
    assert callable(main)
    assert main(run["Run"]) == ("flyte.remote.Run.get", "flyte.remote.Run.cancel")


def test_the_outermost_public_function_is_the_one_that_was_called(sdk: types.ModuleType) -> None:
    initialize = define("flyte._initialize", "def ensure_client():\n    return called(sys._getframe())\n")
    data = define("flyte.remote._data", "def upload_file():\n    return ensure_client()\n")
    data["ensure_client"] = initialize["ensure_client"]
    bundle = define("flyte._code_bundle.bundle", "def build_code_bundle():\n    return upload_file()\n")
    bundle["upload_file"] = data["upload_file"]
    deploy = define("flyte._deploy", "def apply():\n    return build_code_bundle()\n")
    deploy["build_code_bundle"] = bundle["build_code_bundle"]
    setattr(sdk.remote, "upload_file", data["upload_file"])
    setattr(sdk, "deploy", lambda: None)
    for function, name in [(data["upload_file"], "flyte.remote.upload_file"), (deploy["apply"], "flyte.deploy")]:
        assert callable(function)
        assert function() == name


def test_a_call_without_a_public_name_has_none(sdk: types.ModuleType) -> None:
    hidden = define("flyte._hidden", "def work():\n    return called(sys._getframe())\n")
    work = hidden["work"]
    assert callable(work)
    assert work() is None


def test_old_pythons_name_a_method_by_its_owner() -> None:
    class Owner:
        @classmethod
        def by_class(cls) -> str:
            return withheld.old_qualname(sys._getframe())

        def by_instance(self) -> str:
            return withheld.old_qualname(sys._getframe())

    def function() -> str:
        return withheld.old_qualname(sys._getframe())

    assert (Owner.by_class(), Owner().by_instance(), function()) == ("Owner.by_class", "Owner.by_instance", "function")
