"""Tests of the Python side that need neither Rust nor a Flyte SDK."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def root() -> Path:
    """Returns the repository's root."""
    return ROOT
