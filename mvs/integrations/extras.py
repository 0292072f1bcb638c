"""Frameworks, which are there or not."""

from importlib import import_module
from typing import Any

from mvs.errors import MissingExtra, command


def framework(module: str, extra: str) -> Any:
    """Import a framework and return the module.

    Raises:
        MissingExtra: it is not installed, or something that it needs.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"mvs.integrations.{extra} needs '{error.name}', which is not installed",
            hint=command("pip", "install", f"mvs[{extra}]"),
        ) from error
