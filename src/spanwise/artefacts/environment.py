"""References to environment variables in a Collector's configuration, and the escaping of all other text."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Env", "escaped"]


@dataclass(frozen=True)
class Env:
    """A value that the Collector takes from its environment.

    Attributes:
        name: the variable.
        default: what holds without it. Never text of a thresholds file.
    """

    name: str
    default: str | int | float


def escaped(tree: object) -> object:
    """The tree with every ``$`` doubled, in keys too, and every :class:`Env` written as a reference.

    The Collector expands ``${…}`` anywhere in the file; doubling keeps text from the thresholds file
    from reading the environment or another file.
    """
    if isinstance(tree, Env):
        return f"${{env:{tree.name}:-{tree.default}}}"
    if isinstance(tree, str):
        return tree.replace("$", "$$")
    if isinstance(tree, dict):
        return {escaped(key): escaped(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [escaped(each) for each in tree]
    return tree
