"""The rooms and the arrows between them (ARCHITECTURE.md): who may import whom."""

from __future__ import annotations

import ast
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "src" / "spanwise"
LONGEST_MODULE = 330  # lines; one reason to change seldom needs more

EVERYTHING = {"*"}
# All may import them.
LEAVES = {
    "names",
    "errors",
    "settings",
    "values",
    "context",
    "fixed",
    "forks",
    "instruments",
    "installed",
    "labels",
    "log",
    "pending",
    "shown",
    "threads",
    "interrupts",
}
# Room or top-level module -> what it may import besides itself and the leaves. Not listed: forbidden.
ROOMS: dict[str, set[str]] = {
    "names": set(),
    "errors": set(),
    "settings": set(),
    "sources": set(),
    "values": set(),
    "installed": set(),
    "variables": set(),
    "environment": {"variables"},
    "instruments": set(),
    "labels": set(),
    "log": set(),
    "pending": set(),
    "shown": set(),
    "threads": set(),
    "interrupts": set(),
    "context": set(),
    "fixed": set(),
    "forks": set(),
    "thresholds": {"rules"},
    "rules": set(),
    "rating": {"rules"},
    "alerts": {"rules", "meters", "privacy"},
    "artefacts": {"rules"},
    "replay": {"rules", "rating"},
    "gate": {"rules", "artefacts"},
    "spans": {"privacy"},
    "encode": set(),
    "deliver": {"encode"},
    "meters": {"encode"},
    "privacy": set(),
    "instrumentors": {"encode", "privacy", "meters"},
    "manual": {"instrumentors", "meters"},
    "console": set(),
    "bootstrap": {"launch"},
    "resource": set(),
    "catalogue": set(),
    "notices": set(),
    "components": {"environment"},
    "declarative": set(),
    "report": {"instrumentors"},
    "launched": {"alerts", "instrumentors", "meters", "rating"},
    "options": set(),
    "limits": EVERYTHING,
    "providers": EVERYTHING,
    "distro": EVERYTHING,
    "telemetry": EVERYTHING,
    "waiting": {"deliver", "instrumentors"},
    "entrypoints": EVERYTHING,
    "commands": EVERYTHING,
    "launch": {"components", "distro"},
    "probes": {"meters", "rules", "snapshot"},
    "snapshot": {"alerts", "meters", "probes"},
    "__init__": {"alerts", "launch", "manual", "probes", "snapshot"},
    "__main__": {"commands"},
}


def violations(root: Path) -> list[str]:
    """What breaks the rules in the package at ``root``, a line each."""
    found = []
    for file in sorted(root.rglob("*.py")):
        relative = file.relative_to(root)
        tree = ast.parse(file.read_text("utf-8"))
        lines = len(file.read_text("utf-8").splitlines())
        # The list of all names is as long as they are many; nobody reads what is generated.
        read = relative != Path("names.py") and not file.read_text("utf-8").startswith('"""GENERATED')
        if lines > LONGEST_MODULE and read:
            found.append(f"{relative}: {lines} lines, {LONGEST_MODULE} at most")
        if file.name == "__init__.py":
            found += [
                f"{relative}:{node.lineno}: code in an __init__.py"
                for node in ast.walk(tree)
                if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda))
            ]
        room = relative.parts[0] if len(relative.parts) > 1 else relative.stem
        if room not in ROOMS:
            found.append(f"{relative}: room {room!r} is not in the table")
            continue
        allowed = ROOMS[room] | LEAVES | {room}
        found += [
            f"{relative}:{line}: {room} imports {target}"
            for line, target in _imports(tree, root, relative)
            if allowed.isdisjoint({"*", target}) and ROOMS[room] is not EVERYTHING
        ]
    return found


def _imports(tree: ast.AST, root: Path, relative: Path) -> list[tuple[int, str]]:
    """The rooms that a module imports, wherever in it, with the line."""
    found = []
    for node in ast.walk(tree):
        modules: list[str] = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = ["spanwise", *relative.parts[:-1]]
                base = ".".join([*package[: len(package) - node.level + 1], *([base] if base else [])])
            modules = [base]
            if base == "spanwise":
                modules = [f"spanwise.{alias.name}" for alias in node.names]
        for module in modules:
            parts = module.split(".")
            if parts[0] != "spanwise":
                continue
            target = parts[1] if len(parts) > 1 else "__init__"
            if not ((root / target).is_dir() or (root / f"{target}.py").is_file()):
                target = "launch"  # a name that the package's face re-exports: configure
            found.append((node.lineno, target))
    return found


def test_the_arrows_hold() -> None:
    assert violations(SOURCE) == []


def test_the_table_names_no_room_that_is_gone() -> None:
    rooms = {path.stem for path in SOURCE.iterdir() if path.suffix == ".py"}
    rooms |= {path.name for path in SOURCE.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    assert set(ROOMS) == rooms


def test_planted_violations_are_found(tmp_path: Path) -> None:
    for room in ("encode", "deliver", "console", "cellar"):
        (tmp_path / room).mkdir()
        (tmp_path / room / "__init__.py").write_text("")
    (tmp_path / "names.py").write_text("")
    (tmp_path / "deliver" / "good.py").write_text(
        "from spanwise.encode import x\nfrom spanwise import names\nimport os\n"
    )
    assert violations(tmp_path) == ["cellar/__init__.py: room 'cellar' is not in the table"]
    (tmp_path / "cellar" / "__init__.py").unlink()
    assert violations(tmp_path) == []

    (tmp_path / "encode" / "a.py").write_text("def late():\n    from spanwise.deliver.good import x\n")
    (tmp_path / "encode" / "b.py").write_text("from spanwise import deliver\n")
    (tmp_path / "encode" / "c.py").write_text("import spanwise.deliver.good as g\n")
    (tmp_path / "encode" / "d.py").write_text("from ..deliver import good\n")
    (tmp_path / "encode" / "e.py").write_text("from .. import console\n")
    (tmp_path / "console" / "__init__.py").write_text("x = 1\n\nclass Code: ...\n")
    (tmp_path / "console" / "long.py").write_text("\n" * (LONGEST_MODULE + 1))
    assert violations(tmp_path) == [
        "console/__init__.py:3: code in an __init__.py",
        f"console/long.py: {LONGEST_MODULE + 1} lines, {LONGEST_MODULE} at most",
        "encode/a.py:2: encode imports deliver",
        "encode/b.py:1: encode imports deliver",
        "encode/c.py:1: encode imports deliver",
        "encode/d.py:1: encode imports deliver",
        "encode/e.py:1: encode imports console",
    ]
