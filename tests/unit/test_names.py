"""Every name lives once, in names.py: nobody else writes one out."""

from __future__ import annotations

import ast
from pathlib import Path

from spanwise import names

SOURCE = Path(names.__file__).parent


def known() -> dict[str, str]:
    """Each dotted name in names.py, with its constant."""
    found = {}
    for constant, value in vars(names).items():
        text = value.name if isinstance(value, names.Metric) else value
        if constant.isupper() and isinstance(text, str) and "." in text:
            assert text not in found, f"{constant} and {found[text]} are the same name"
            found[text] = constant
    return found


def written_out(source: str) -> list[str]:
    """The string literals of a module that are not docstrings."""
    tree = ast.parse(source)
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs
    ]


def test_no_name_is_written_out_elsewhere() -> None:
    constants = known()
    assert len(constants) > 50
    found = [
        f"{file.relative_to(SOURCE)}: {text!r} is names.{constants[text]}"
        for file in sorted(SOURCE.rglob("*.py"))
        if file.name != "names.py" and not file.read_text("utf-8").startswith('"""GENERATED')
        for text in written_out(file.read_text("utf-8"))
        # A scope is named after its module; loggers may be too.
        if text in constants and not constants[text].startswith("SCOPE_")
    ]
    assert found == []


def test_a_literal_is_seen_and_a_docstring_is_not() -> None:
    assert written_out('"""http.route"""\nx = "http.route"') == ["http.route"]
