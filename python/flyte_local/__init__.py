"""The Python side of flyte-local."""
