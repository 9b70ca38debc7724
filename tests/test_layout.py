"""The layout's rules, read from the sources: who imports whom, and a core without I/O.

Imports go http -> agent -> gossip and never back. In gossip/ only the shell around the engine
touches sockets, clocks, files, logs and the random numbers of the process; everything below is told
the time and the bytes, which is what makes a run repeatable.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from rookery.agent.version import VERSION

ROOT = Path(__file__).parents[1]

MAY_IMPORT = {
    "gossip": {"gossip"},
    "agent": {"agent", "gossip"},
    "http": {"http", "agent", "gossip"},
}
"""Folder -> folders of this repository that it may import."""

SHELL = {
    "__init__.py",
    "coalesced_stream.py",
    "host_addresses.py",
    "notice_log.py",
    "operations.py",
    "pool.py",
    "pool_settings.py",
    "query_stream.py",
    "stream_tasks.py",
    "subscriptions.py",
    "timed_evidence.py",
    "transport.py",
}
"""Files of gossip/ itself that make up the shell around the engine: sockets, tasks, logs."""

FORBIDDEN_IN_CORE = {
    "asyncio",
    "datetime",
    "logging",
    "multiprocessing",
    "os",
    "pathlib",
    "psutil",
    "secrets",
    "select",
    "selectors",
    "shutil",
    "signal",
    "socket",
    "ssl",
    "structlog",
    "subprocess",
    "tempfile",
    "threading",
    "time",
    "trio",
    "uuid",
}
"""What would bring I/O, clocks or hidden chance into the core."""

RANDOM_ALLOWED = {"Random"}
"""`random.Random` is a type to be given; all else in `random` is the process's generator."""


def sources(folder: str) -> list[Path]:
    """Return the Python files of a folder, sorted."""
    return sorted((ROOT / folder).rglob("*.py"))


def core() -> list[Path]:
    """Return the files of gossip/ that must do no I/O."""
    return [
        path
        for path in sources("gossip")
        if not (path.parent == ROOT / "gossip" and path.name in SHELL)
    ]


def imported(path: Path) -> Iterator[str]:
    """Yield the absolute name of every module a file imports, wherever in the file."""
    package = ["rookery", *path.relative_to(ROOT).parent.parts]
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *(node.module or "").split(".")]).strip(".")
            yield from (f"{module}.{alias.name}" for alias in node.names)
            yield module


def relative_name(path: Path) -> str:
    """Name a file in a test's id."""
    return str(path.relative_to(ROOT))


ALL = [path for folder in MAY_IMPORT for path in sources(folder)]


@pytest.mark.parametrize("path", ALL, ids=relative_name)
def test_imports_go_from_http_to_agent_to_gossip(path: Path) -> None:
    """No file imports a folder that stands above its own."""
    folder = path.relative_to(ROOT).parts[0]
    ours = {name.split(".")[1] for name in imported(path) if name.startswith("rookery.")}
    assert ours <= MAY_IMPORT[folder], f"{relative_name(path)} imports {ours - MAY_IMPORT[folder]}"


@pytest.mark.parametrize("path", ALL, ids=relative_name)
def test_own_modules_are_imported_relatively(path: Path) -> None:
    """Inside the package every import of our own is relative."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            assert not any(alias.name.split(".")[0] == "rookery" for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            assert (node.module or "").split(".")[0] != "rookery"


@pytest.mark.parametrize("path", core(), ids=relative_name)
def test_core_has_no_io_and_no_clock(path: Path) -> None:
    """wire, swim, serf and the simulation import nothing that does I/O or tells the time."""
    found = {name.split(".")[0] for name in imported(path)} & FORBIDDEN_IN_CORE
    assert not found, f"{relative_name(path)} imports {sorted(found)}"


@pytest.mark.parametrize("path", core(), ids=relative_name)
def test_core_takes_its_chances_from_the_generator_it_was_given(path: Path) -> None:
    """Only the type random.Random is used, never the process's own generator, never open files."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "random" and not node.level:
            assert {alias.name for alias in node.names} <= RANDOM_ALLOWED
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert node.value.id != "random" or node.attr in RANDOM_ALLOWED
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"open", "print", "input"}


@pytest.mark.parametrize("path", core(), ids=relative_name)
def test_core_makes_no_generator_when_it_is_imported(path: Path) -> None:
    """A generator made at import would be shared by all engines of the process."""
    tree = ast.parse(path.read_text())
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        calls = [node for node in ast.walk(statement) if isinstance(node, ast.Call)]
        assert not any(ast.unparse(call.func).endswith("Random") for call in calls)


def test_http_is_not_a_package_by_itself() -> None:
    """With an __init__.py, http/ would hide the standard library's http from Python run here."""
    assert not (ROOT / "http" / "__init__.py").exists()


def test_every_subpackage_is_installed_and_typed() -> None:
    """Each folder with sources is listed for the installation and carries py.typed."""
    listed = set(
        tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    )
    folders = {path.parent for path in ALL}
    assert {".".join(["rookery", *folder.relative_to(ROOT).parts]) for folder in folders} == listed
    assert [str(folder) for folder in folders if not (folder / "py.typed").exists()] == []


def test_version_is_the_same_in_both_places() -> None:
    """pyproject.toml and agent/version.py agree."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == VERSION


@pytest.mark.parametrize("path", ALL, ids=relative_name)
def test_every_module_says_what_it_is(path: Path) -> None:
    """Each module opens with a docstring."""
    assert ast.get_docstring(ast.parse(path.read_text()))
