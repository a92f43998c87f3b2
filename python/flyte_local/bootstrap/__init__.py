"""The code that `flyte-local` runs inside the user's Python, before and around the user's own.

The binary carries these files. `load.py` makes the package `_flyte_local` of those that are needed, in memory: nothing of
them is installed, and a name that starts with an underscore collides with no installed package. They therefore import each
other relatively. `messages.py` and `sdk.py` hold only types, and are not carried.
"""
