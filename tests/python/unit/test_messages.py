"""Compares the messages that `messages.py` declares with the types that flyte-local reads and writes, in both directions."""

import re
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

import pytest

from flyte_local.bootstrap import messages

# A message: by member, its type in Python's notation. An enum of words has none, and is one member's type.
Members = dict[str, str]


@dataclass
class RustType:
    """A struct, or an enum, as the source declares it."""

    attributes: str
    is_enum: bool
    body: str


def without_comments(text: str) -> str:
    return re.sub(r"(?m)^\s*//.*$", "", text)


def rust_types(path: Path) -> dict[str, RustType]:
    """Returns the structs and enums of a Rust file, or of a directory of them, by name."""
    files = sorted(path.rglob("*.rs")) if path.is_dir() else [path]
    found = {}
    for file in files:
        text = without_comments(file.read_text(encoding="utf-8"))
        pattern = r"((?:#\[[^\n]*\]\s*)*)(?:pub(?:\([a-z]+\))? )?(struct|enum) (\w+)(?:<'a>)? \{\n(.*?)^\}"
        for match in re.finditer(pattern, text, re.DOTALL | re.MULTILINE):
            attributes, kind, name, body = match.groups()
            found[name] = RustType(attributes, kind == "enum", body)
    return found


def split_at_commas(text: str) -> list[str]:
    """Splits at the commas that no bracket encloses."""
    parts, depth = [""], 0
    for character in text:
        depth += character in "([{<"
        depth -= character in ")]}>"
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts if part.strip()]


SIMPLE = {"String": "str", "str": "str", "PathBuf": "str", "bool": "bool", "u8": "int", "u32": "int", "usize": "int"}
SIMPLE["PythonVersion"] = "tuple[int, int, int]"


def python_type(rust: str) -> str:
    """Returns the notation of a Rust type in Python, as serde has it in JSON."""
    rust = re.sub(r"&'(a|static) ", "", rust.strip())
    if rust.startswith("(") and rust.endswith(")"):
        return f"tuple[{', '.join(map(python_type, split_at_commas(rust[1:-1])))}]"
    if rust.startswith("[") and rust.endswith("]"):
        return f"list[{python_type(rust[1:-1])}]"
    generic = re.fullmatch(r"(\w+)<(.*)>", rust)
    if generic is None:
        return SIMPLE.get(rust, rust)
    name, inner = generic.group(1), [python_type(part) for part in split_at_commas(generic.group(2))]
    if name == "Option":
        return f"{inner[0]} | None"
    if name in ("Vec", "BTreeSet"):
        return f"list[{inner[0]}]"
    if name == "BTreeMap":
        return f"dict[{', '.join(inner)}]"
    assert name == "Zeroizing", f"a type that this test does not know: {rust}"
    return inner[0]


def members(body: str) -> Members:
    """Returns the members of a struct, or of an enum's variant."""
    found = {}
    for member in split_at_commas(body):
        match = re.fullmatch(r'(?:#\[serde\(rename = "(\w+)"\)\]\s*)?(?:pub(?:\([a-z]+\))? )?(\w+): (.*)', member, re.DOTALL)
        assert match, f"not a member: {member}"
        renamed, name, kind = match.groups()
        found[renamed or name] = python_type(kind)
    return found


def snake_case(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def variants(rust: RustType, others: dict[str, RustType]) -> list[Members]:
    """Returns what each variant of an enum becomes in JSON."""
    tag = re.search(r'tag = "(\w+)"', rust.attributes)
    assert tag or "untagged" in rust.attributes
    assert not tag or 'rename_all = "snake_case"' in rust.attributes
    found = []
    for variant in split_at_commas(rust.body):
        match = re.fullmatch(r"(\w+)\s*(?:\{(.*)\}|\(&?(?:'a )?(\w+)\))", variant, re.DOTALL)
        assert match, f"not a variant: {variant}"
        name, body, other = match.groups()
        inner = members(others[other].body) if other else members(body)
        found.append({**({tag.group(1): f"'{snake_case(name)}'"} if tag else {}), **inner})
    return found


def words(rust: RustType) -> set[str]:
    """Returns the words of an enum that has no members."""
    assert 'rename_all = "snake_case"' in rust.attributes
    return {snake_case(word) for word in split_at_commas(rust.body)}


def shown(kind: Any) -> str:
    """Returns the notation of a Python type. A message is called by its name, and a choice of messages or words by its own."""
    names = {id(value): name for name, value in vars(messages).items() if name in ("Job", "Leaks", "SecretType")}
    if id(kind) in names:
        return names[id(kind)]
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        without = [part for part in inner if part is not type(None)]
        for name in ("Job", "Leaks", "SecretType"):
            if without == list(get_args(getattr(messages, name))):
                return f"{name} | None" if len(without) < len(inner) else name
        assert len(without) == 1 and len(inner) == 2
        return f"{shown(without[0])} | None"
    if origin is Literal:
        for name in ("Leaks", "SecretType"):
            if inner == get_args(getattr(messages, name)):
                return name
        return " | ".join(map(repr, inner))
    if origin is not None:
        return f"{origin.__name__}[{', '.join(map(shown, inner))}]"
    return str(kind.__name__)


def declared(message: Any) -> Members:
    """Returns the members of a message that `messages.py` declares, each of which is always there."""
    assert is_typeddict(message) and message.__optional_keys__ == frozenset()
    return {name: shown(kind) for name, kind in get_type_hints(message).items()}


def declared_in(union: Any) -> list[Members]:
    return [declared(message) for message in get_args(union)]


def in_order(found: list[Members]) -> list[list[tuple[str, str]]]:
    return sorted(sorted(message.items()) for message in found)


def protocol(root: Path) -> dict[str, RustType]:
    return rust_types(root / "src/flyte/protocol.rs")


def push(root: Path) -> dict[str, RustType]:
    """Returns the types of a conversation with a cluster."""
    return {**rust_types(root / "src/flyte/cluster.rs"), **rust_types(root / "src/flyte/cluster_messages.rs")}


@pytest.mark.parametrize("name", ["Declared", "Surveyed", "Settings", "Provided", "BuildSecrets", "FromRun"])
def test_a_message_has_the_members_of_its_struct(root: Path, name: str) -> None:
    assert declared(getattr(messages, name)) == members(protocol(root)[name].body)


@pytest.mark.parametrize("name", ["Request", "Reply", "Job"])
def test_a_choice_of_messages_has_the_variants_of_its_enum(root: Path, name: str) -> None:
    rust = protocol(root)
    assert in_order(declared_in(getattr(messages, name))) == in_order(variants(rust[name], rust))


def test_the_words_of_a_setting_are_those_of_its_enum(root: Path) -> None:
    assert set(get_args(messages.Leaks)) == words(protocol(root)["Leaks"])


def test_no_type_of_the_protocol_is_left_out(root: Path) -> None:
    compared = {
        "BuildSecrets",
        "ConfiguredScope",
        "Declared",
        "FromRun",
        "Surveyed",
        "Settings",
        "Provided",
        "Request",
        "Reply",
        "Job",
        "Leaks",
    }
    assert set(protocol(root)) == compared


@pytest.mark.parametrize(("name", "rust"), [("Target", "Target"), ("About", "About"), ("PushStart", "Start")])
def test_a_message_of_push_has_the_members_of_its_struct(root: Path, name: str, rust: str) -> None:
    assert declared(getattr(messages, name)) == members(push(root)[rust].body)


def test_a_request_of_push_has_the_members_of_its_struct(root: Path) -> None:
    ours = declared(messages.PushRequest)
    assert ours.pop("op") == "'look' | 'create' | 'update'"
    theirs = members(push(root)["ClusterRequest"].body)
    assert theirs.pop("op") == "str"
    assert ours == theirs


def test_a_reply_of_push_has_the_variants_of_its_enum(root: Path) -> None:
    rust = push(root)
    assert in_order(declared_in(messages.PushReply)) == in_order(variants(rust["ClusterReply"], rust))


def test_the_limits_of_the_leak_search_are_those_of_the_mask(root: Path) -> None:
    from flyte_local.bootstrap import leaks

    text = "".join(file.read_text(encoding="utf-8") for file in sorted((root / "src/redact").rglob("*.rs")))
    for name in ("MIN_BYTES", "MAX_OTHER_FORMS"):
        values = re.findall(rf"const {name}: usize = ([\d <_]+);", text)
        assert len(values) == 1, name
        assert getattr(leaks, name) == eval(values[0]), name
