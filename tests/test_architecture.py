"""What holds for the house as a whole: who imports whom, what a fresh start loads, how long a file may be."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted([*ROOT.glob("service/**/*.py"), *ROOT.glob("models/**/*.py")])
TESTS = sorted(ROOT.glob("tests/**/*.py"))
MOST_LINES = 300  # of a file; the point at which it usually holds two nouns
MOST_FUNCTION_LINES = 50
MUTABLE = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(nodes: list[ast.stmt]) -> Iterator[str]:
    """Full names of the modules that these statements import."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def python(code: str) -> subprocess.CompletedProcess[str]:
    """Run code in an interpreter of its own, at the root of the checkout."""
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_contracts_on_imports_hold() -> None:
    pytest.importorskip("importlinter")
    code = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))"
    linted = python(code)
    assert linted.returncode == 0, linted.stdout + linted.stderr
    assert "Contracts: 3 kept, 0 broken" in linted.stdout


def test_a_fresh_service_loads_nothing_of_training() -> None:
    code = (
        "import sys, service.app, service.wiring, service.cli\n"
        "names = {name.partition('.')[0] for name in sys.modules}\n"
        "print(sorted(names & {'torch', 'transformers', 'models', 'ray', 'sklearn', 'onnx', 'safetensors'}))"
    )
    fresh = python(code)
    assert fresh.stdout.strip() == "[]", fresh.stderr


def test_importing_reads_no_environment_and_starts_no_thread() -> None:
    code = (
        "import os, threading\nos.environ['WEIR_PORT'] = 'nonsense'\n"
        "import service.app, service.wiring, service.cli\nprint(threading.active_count())"
    )
    fresh = python(code)
    assert fresh.stdout.strip() == "1", fresh.stderr


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_file_says_what_it_owns_and_stays_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES
    tree = parse(path)
    assert ast.get_docstring(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= MOST_FUNCTION_LINES, f"{node.name} has {length} lines"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_no_module_keeps_state(path: Path) -> None:
    """A list or a table at the top of a module is a constant, and is written like one; nothing is `global`."""
    tree = parse(path)
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, MUTABLE):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [target.id for target in targets if isinstance(target, ast.Name)]
            assert all(name.isupper() or name == "__all__" for name in names), names
            for inner in ast.walk(tree):
                if isinstance(inner, ast.Call) and isinstance(inner.func, ast.Attribute):
                    owner = inner.func.value
                    changed = inner.func.attr in {"append", "add", "update", "setdefault", "pop", "clear", "extend"}
                    assert not (isinstance(owner, ast.Name) and owner.id in names and changed), owner
    assert not any(isinstance(node, ast.Global) for node in ast.walk(tree))


def modules_with_torch() -> set[str]:
    """Modules of `models` that need torch, or import one that does."""
    sources = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in ROOT.glob("models/**/*.py")}
    direct = {name: set(imports(parse(path).body)) for name, path in sources.items()}
    found = {name for name, wanted in direct.items() if any(w.partition(".")[0] == "torch" for w in wanted)}
    while more := {name for name, wanted in direct.items() if wanted & found} - found:
        found |= more
    return found


@pytest.mark.parametrize("path", TESTS, ids=name_of)
def test_tests_run_without_torch(path: Path) -> None:
    tree = parse(path)
    needing = modules_with_torch() | {"torch"}
    assert {"models.encoder", "models.batches", "models.fusion.train"} <= needing
    for number, node in enumerate(tree.body):
        if needing & set(imports([node])):
            before = [ast.unparse(statement) for statement in tree.body[:number]]
            assert any("importorskip('torch')" in line for line in before), f"line {node.lineno} needs torch"


def test_there_are_no_packages_among_tests() -> None:
    assert not list(ROOT.glob("tests/**/__init__.py"))
