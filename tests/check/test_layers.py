"""Imports go one way, pure folders stay pure, files stay short."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAYERS = ("schemas", "streams", "handlers", "compose")
PURE = ("streams/core", "handlers/wire")
IMPURE = {
    "aiohttp", "aiokafka", "asyncio", "faust", "io", "logging", "os", "pathlib", "random", "secrets", "socket",
    "subprocess", "sys", "threading", "time",
}  # fmt: skip
IMPURE_CALLS = {"now", "today", "utcnow", "uuid1", "uuid4", "open", "print", "input"}
VAGUE = {"utils", "helpers", "common", "manager", "base", "misc"}
MAX_LINES = 300


def modules(root: Path) -> dict[str, Path]:
    """Every module of ours by its dotted name."""
    found = {}
    for layer in LAYERS:
        for path in sorted((root / layer).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path) -> Iterator[str]:
    """The dotted names that a module imports when it is loaded or run, type-only imports left out."""
    tree = ast.parse(path.read_text())
    type_only = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and "TYPE_CHECKING" in ast.dump(branch.test)
        for node in ast.walk(branch)
    }
    for node in ast.walk(tree):
        if id(node) in type_only:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def wrong_ways(root: Path) -> list[str]:
    """Imports from a lower layer into a higher one."""
    return [
        f"{name} imports {imported}"
        for name, path in modules(root).items()
        for imported in imports(path)
        if (top := imported.split(".")[0]) in LAYERS and LAYERS.index(top) > LAYERS.index(name.split(".")[0])
    ]


def impurities(root: Path) -> list[str]:
    """What reaches for the world in a pure folder."""
    found = []
    for folder in PURE:
        for path in sorted((root / folder).rglob("*.py")):
            found += [f"{path.name} imports {name}" for name in imports(path) if name.split(".")[0] in IMPURE]
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call):
                    called = getattr(node.func, "attr", getattr(node.func, "id", ""))
                    if called in IMPURE_CALLS:
                        found.append(f"{path.name} calls {called}")
    return found


def test_imports_go_one_way() -> None:
    assert wrong_ways(ROOT) == []


def test_there_is_no_cycle_between_modules() -> None:
    known = modules(ROOT)
    graph = {name: {imported for imported in imports(path) if imported in known} for name, path in known.items()}
    for name in graph:
        graph[name].discard(name)
    TopologicalSorter(graph).prepare()  # raises CycleError


def test_decisions_know_no_clock_no_chance_and_no_world() -> None:
    assert impurities(ROOT) == []


def test_files_stay_short() -> None:
    paths = [*modules(ROOT).values(), *sorted((ROOT / "tests").rglob("*.py"))]
    assert [f"{path}: {lines}" for path in paths if (lines := len(path.read_text().splitlines())) > MAX_LINES] == []


def test_modules_have_names_that_say_something() -> None:
    assert [name for name in modules(ROOT) if VAGUE & set(name.split("."))] == []


@pytest.mark.parametrize(
    ("folder", "text", "check"),
    [
        ("schemas", "from streams.core import matching", wrong_ways),
        ("streams/core", "import time", impurities),
        ("handlers/wire", "import uuid\nuuid.uuid4()", impurities),
    ],
)
def test_a_violation_is_found(tmp_path: Path, folder: str, text: str, check: object) -> None:
    for layer in (*LAYERS, *PURE):
        (tmp_path / layer).mkdir(parents=True, exist_ok=True)
    (tmp_path / folder / "wrong.py").write_text(text)
    assert callable(check)
    assert len(check(tmp_path)) >= 1
