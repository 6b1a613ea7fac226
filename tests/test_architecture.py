"""The house rules that a reader of the source relies on: who may import whom, and when."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("models", "expectations", "tasks", "flows")
"""From the bottom upwards: each may import itself and those before it."""
TENSORFLOW_ROOMS = {
    f"models.{name}" for name in ("network", "losses", "fit", "folds", "export", "serving", "clean_process_script")
}
HEAVY = {"tensorflow", "keras", "great_expectations", "mlflow", "matplotlib"}
GX_ROOM = "expectations.gx"


@dataclass(frozen=True)
class Import:
    """One imported name; `x` and `x.y` for `from x import y`, since y may be a module."""

    module: str
    line: int
    at_start: bool
    """Executed when the importing module is: neither in a function nor for the type checker only."""
    relative: bool


@cache
def sources() -> dict[str, Path]:
    """Module → file, of all four packages."""
    files = (file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py")))
    return {".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file for file in files}


@cache
def imports(module: str) -> tuple[Import, ...]:
    return tuple(_imports(ast.parse(sources()[module].read_text()), at_start=True))


def _imports(node: ast.AST, at_start: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(name.name, child.lineno, at_start, False) for name in child.names)
        elif isinstance(child, ast.ImportFrom):
            stated = child.module or ""
            for name in (stated, *(f"{stated}.{name.name}" for name in child.names)):
                yield Import(name, child.lineno, at_start, child.level > 0)
        else:
            yield from _imports(child, at_start and not _later(child))


def _later(node: ast.AST) -> bool:
    in_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    return in_function or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))


def top(module: str) -> str:
    return module.partition(".")[0]


def at_start(module: str) -> set[str]:
    """Our own modules that importing this one imports at once."""
    return {one.module for one in imports(module) if one.at_start and one.module in sources()}


def broken(rule) -> list[str]:
    """`file:line imports module` of every import that breaks the rule."""
    return [
        f"{sources()[module].relative_to(ROOT)}:{one.line} imports {one.module}"
        for module in sources()
        for one in imports(module)
        if not rule(module, one)
    ]


def test_no_module_reads_or_writes_pickles():
    pickling = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
    assert broken(lambda module, one: top(one.module) not in pickling) == []


def test_no_package_imports_one_above_it():
    def downwards(module: str, one: Import) -> bool:
        above = PACKAGES[PACKAGES.index(top(module)) + 1 :]
        return top(one.module) not in above

    assert broken(downwards) == []


def test_no_import_cycle_exists_even_inside_functions():
    graph = {module: {one.module for one in imports(module)} & sources().keys() - {module} for module in sources()}
    TopologicalSorter(graph).prepare()  # raises CycleError and names the cycle


def test_no_import_is_relative():
    assert broken(lambda module, one: not one.relative) == []


def test_prefect_is_known_only_to_flows_and_tasks():
    assert broken(lambda module, one: top(one.module) != "prefect" or top(module) in ("flows", "tasks")) == []


def test_one_file_alone_speaks_to_great_expectations():
    assert broken(lambda module, one: top(one.module) != "great_expectations" or module == GX_ROOM) == []


def test_tensorflow_is_known_only_to_the_files_that_build_fit_export_and_serve():
    assert (
        broken(lambda module, one: top(one.module) not in ("tensorflow", "keras") or module in TENSORFLOW_ROOMS) == []
    )


@pytest.mark.parametrize("module", sorted(sources().keys() - TENSORFLOW_ROOMS))
def test_importing_a_module_imports_nothing_heavy(module):
    reached, waiting = set(), [module]
    while waiting:
        reached.add(current := waiting.pop())
        waiting.extend(at_start(current) - reached)
    heavy = {(who, one.module) for who in reached for one in imports(who) if one.at_start and top(one.module) in HEAVY}
    assert heavy == set()


def test_the_pure_rules_import_neither_prefect_nor_tensorflow():
    pure = sorted(module for module in sources() if top(module) == "models" and module not in TENSORFLOW_ROOMS)
    code = f"import importlib, sys; [importlib.import_module(name) for name in {pure!r}]; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {"prefect", *HEAVY} & set(loaded.stdout.split()) == set()


def test_no_class_that_crosses_a_boundary_lives_in_a_flow_file():
    """Prefect loads a flow file as a second module, where each of its classes exists a second time."""
    flows = [module for module in sources() if any("@flow" in line for line in sources()[module].open())]
    classes = {
        module: [node.name for node in ast.parse(sources()[module].read_text()).body if isinstance(node, ast.ClassDef)]
        for module in flows
    }
    assert {module: names for module, names in classes.items() if names} == {}


def test_no_file_is_called_utils():
    homeless = [module for module in sources() if module.rpartition(".")[2] in ("utils", "util", "helpers", "common")]
    assert homeless == []


def texts() -> Iterator[tuple[str, str]]:
    """Every text file of the repository, whatever version control knows."""
    shown = [path for path in ROOT.iterdir() if not path.name.startswith(".") or path.name in (".ci", ".gitignore")]
    for path in (below for top in shown for below in (top.rglob("*") if top.is_dir() else [top])):
        if path.is_file() and "__pycache__" not in path.parts:
            try:
                yield str(path.relative_to(ROOT)), path.read_text("utf-8")
            except UnicodeDecodeError:
                continue


def test_no_file_names_a_package_registry_or_a_path_of_some_machine():
    # Put together here, so that this file may be searched as well.
    telltales = ["pypi" + ".org", "python" + "hosted", "/ro" + "ot/", "/wo" + "rk/", "--index" + "-url", "/ho" + "me/"]
    found = [(name, told) for name, text in texts() for told in telltales if told in text]
    assert found == []
