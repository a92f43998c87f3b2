"""Reaches every subclass of a class, those that exist and those that will."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def visit_subclasses(template: Any, visit: Callable[[type], None]) -> None:
    """Calls `visit` with the class, with each subclass, and with each that is defined later (a plugin's, for one)."""
    own = template.__dict__.get("__init_subclass__")

    def init_subclass(cls: Any, /, **keywords: Any) -> None:
        if own is None:
            super(template, cls).__init_subclass__(**keywords)
        else:
            own.__get__(None, cls)(**keywords)
        visit(cls)

    template.__init_subclass__ = classmethod(init_subclass)
    classes = [template]
    while classes:
        cls = classes.pop()
        classes.extend(cls.__subclasses__())
        visit(cls)
