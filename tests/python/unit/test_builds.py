"""Secrets of image builds: what the builder is given."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flyte_local.bootstrap import builds


class Secret:
    """Stands for `flyte.Secret`."""

    def __init__(self, key: str, group: str | None = None) -> None:
        self.key, self.group, self.as_env_var = key, group, None


def image(*mounts: Any) -> Any:
    return SimpleNamespace(name="img", _layers=(SimpleNamespace(secret_mounts=mounts), SimpleNamespace()))


def test_the_builder_looks_for_the_group_and_the_key_in_upper_case() -> None:
    flyte: Any = SimpleNamespace(Secret=Secret)
    found = builds.mounted(flyte, image("a-key", Secret("b", "g-1"), "a-key"))
    assert [(secret.key, secret.group, secret.as_env_var) for secret in found] == [
        ("a-key", None, "A-KEY"),
        ("b", "g-1", "G-1_B"),
    ]
    assert [builds.host_file(secret) for secret in found] == ["/etc/secrets/a-key", "/etc/secrets/g-1_b"]
    assert builds.mounted(flyte, "auto") == [] == builds.mounted(flyte, None)


def test_docker_reads_files_in_place_of_the_variables_that_stand_for_them() -> None:
    command = ["docker", "--secret", "id=1,env=A", "--secret", "id=2,env=B", "--label", "x,env=A", Path("context")]
    changed = ["docker", "--secret", "id=1,src=/memory/0", "--secret", "id=2,env=B", "--label", "x,env=A", Path("context")]
    assert builds.with_files(command, {"A": "/memory/0"}) == changed
    assert builds.with_files("docker build", {"A": "/memory/0"}) == "docker build"


@pytest.mark.parametrize("is_there", [False, True])
def test_a_file_of_the_users_replaces_a_missing_secret(is_there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builds, "HOST_FILES", str(tmp_path))
    if is_there:
        (tmp_path / "absent").write_text("a value", encoding="utf-8")
    empty: dict[str, Any] = {"variables": {}, "files": {}, "directory": None, "shell": [], "notes": []}
    broker: Any = SimpleNamespace(ask=lambda request: {**empty, "missing": [0], "why_missing": ["it is absent"]})
    errors = SimpleNamespace(NonRecoverableError=lambda words, code: ValueError(words))
    flyte: Any = SimpleNamespace(Secret=Secret, errors=errors)
    ask = builds.Builds(broker, flyte)._ask
    if is_there:
        assert ask(image("absent"), builds.mounted(flyte, image("absent")))["missing"] == [0]
    else:
        with pytest.raises(ValueError, match="image img: it is absent"):
            ask(image("absent"), builds.mounted(flyte, image("absent")))
