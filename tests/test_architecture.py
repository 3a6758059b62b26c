"""The rules of the house, read from the syntax trees; each is shown able to fail."""

import ast
import fnmatch
import graphlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OURS = ("algos", "analysis", "benchmark", "conf", "prism", "tools")
SKIPPED = {".venv", ".git", "results", "build", "dist"}

# module pattern -> what it may import of ours; the first match counts, and a package its own parts
ALLOWED = {
    "algos.formulas*": [],
    "algos.core*": ["algos.formulas"],
    "algos.*": ["algos.core", "algos.formulas"],
    "benchmark.cli.ending": ["analysis.report.brief"],
    "benchmark.cli.decide": ["analysis.errors", "analysis.questions.adaptive"],
    "benchmark*": [
        *("algos.core.agent", "algos.core.mdp", "algos.core.rng", "algos.core.settings"),
        "algos.core.states",
    ],
    "analysis*": [
        *("benchmark.store.schema", "benchmark.store.events", "benchmark.store.reader"),
        *("benchmark.store.digests", "benchmark.util.boundary", "benchmark.util.errors"),
        *("benchmark.util.files", "benchmark.util.registry", "benchmark.util.pipes"),
        "benchmark.util.text",
    ],
    "prism*": ["analysis", "benchmark"],
    "tools*": ["algos", "analysis", "benchmark"],
    "conf*": [],
}
FORMULAS_IMPORT = {"torch", "numpy", "math", "typing", "collections", "dataclasses", "functools"}
LIMITED = {  # third-party package -> modules that may import it
    "hydra": ["benchmark.cli.inform", "benchmark.plan*"],
    "omegaconf": ["benchmark*"],
    "logging": ["benchmark*", "analysis*"],
    "gymnasium": ["benchmark.envs*", "tools.bench*", "tools.peers*"],
    "wandb": ["benchmark.tracking*", "analysis.load.wandb"],
    "wandb_workspaces": ["benchmark.tracking*"],
    "trackio": ["benchmark.tracking.trackio"],
    "tensorboard": [
        *("benchmark.store.events", "analysis.report.tensorboard", "analysis.load.logs.events"),
    ],
}
GLOBAL_RANDOM = ("np.random.seed", "numpy.random.seed", "torch.manual_seed", "random.")
DRAWS = ("bernoulli", "dropout", "multinomial", "normal", "rand", "randint", "randn", "randperm")
DRAWS = (*(f"{m}.{d}" for m in ("torch", "functional", "F") for d in DRAWS), "normal_", "uniform_")
FILE_LINES, FUNCTION_LINES = 400, 60
# package -> its rooms from the ground up, layers and arrows at most; rooms in braces do not meet
ROOMS = {
    "benchmark": (["util", "envs", "store", {"plan", "tracking"}, "train", "launch", "cli"], 8, 30),
    "analysis": (["errors", {"stats", "load"}, "questions", "report", "api", "cli"], 7, 25),
}


def sources(*folders: str) -> Iterator[tuple[str, str]]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield str(path.relative_to(ROOT)), path.read_text()


def module_of(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def imports(path: str, tree: ast.AST) -> Iterator[str]:
    """Yield the dotted name of everything imported, ``from a import b`` as ``a.b``."""
    package = module_of(path).split(".")[: None if path.endswith("__init__.py") else -1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.removeprefix("prism.") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{stem}.{alias.name}".removeprefix("prism.") for alias in node.names)


def within(name: str, parent: str) -> bool:
    return name == parent or name.startswith(parent + ".")


def family(module: str) -> str:
    """Return the part of the house a module may use freely: algos.dqn, benchmark, ..."""
    parts = module.split(".")
    return ".".join(parts[:2] if parts[0] == "algos" else parts[:1])


def bad_imports(path: str, text: str) -> Iterator[str]:
    module = module_of(path)
    allowed = next((v for k, v in ALLOWED.items() if fnmatch.fnmatch(module, k)), [])
    for name in imports(path, ast.parse(text)):
        top = name.split(".")[0]
        if top in OURS:
            legal = any(within(name, parent) for parent in [family(module), *allowed])
        elif family(module) == "algos.formulas":
            legal = top in FORMULAS_IMPORT
        elif top in LIMITED and not within(name, "gymnasium.spaces"):
            legal = any(fnmatch.fnmatch(module, pattern) for pattern in LIMITED[top])
        else:
            legal = True
        if not legal:
            yield f"{path} imports {name}"


def bare_names(path: str, text: str) -> Iterator[str]:
    """Find imports of ours without ``prism.``: a second copy of a module, with its own classes."""
    for node in ast.walk(ast.parse(text)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and not node.level:
            names = [str(node.module)]
        for name in names:
            if name.split(".")[0] in ("algos", "analysis", "benchmark", "conf"):
                yield f"{path} imports {name}, not prism.{name}"


def arrows(package: str, files: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return which room of a package imports which other; a room is a folder or a file in it."""
    found = set()
    for path, text in files:
        module = module_of(path).split(".")
        if module[0] != package or len(module) == 1 or module[1] == "__main__":
            continue
        for name in imports(path, ast.parse(text)):
            parts = name.split(".")
            if parts[0] == package and len(parts) > 1 and parts[1] != module[1]:
                found.add((module[1], parts[1]))
    return found


def layers(edges: set[tuple[str, str]]) -> int:
    """Return the number of rooms on the longest way from the top to the ground."""
    graph: dict[str, set[str]] = {}
    for above, below in edges:
        graph.setdefault(above, set()).add(below)
    heights: dict[str, int] = {}
    for room in graphlib.TopologicalSorter(graph).static_order():
        heights[room] = 1 + max((heights[below] for below in graph.get(room, ())), default=0)
    return max(heights.values(), default=0)


def against(order: list[str | set[str]], edges: set[tuple[str, str]]) -> Iterator[str]:
    """Yield the arrows that do not run down an order of rooms."""
    floor = {
        r: n for n, part in enumerate(order) for r in ([part] if isinstance(part, str) else part)
    }
    for above, below in sorted(edges):
        if above not in floor or below not in floor or floor[above] <= floor[below]:
            yield f"{above} imports {below}"


def cycles(files: list[tuple[str, str]]) -> Iterator[str]:
    modules = {module_of(path) for path, _ in files}
    graph: dict[str, set[str]] = {}
    for path, text in files:
        names = list(imports(path, ast.parse(text)))
        found = {n if n in modules else n.rpartition(".")[0] for n in names}
        graph[module_of(path)] = (found & modules) - {module_of(path)}
    try:
        list(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        yield " -> ".join(error.args[1])


def code_lines(text: str, node: ast.AST) -> int:
    """Count the lines of a node without blank lines, comments and docstrings."""
    docstrings = set()
    for part in ast.walk(node):
        if isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant):
            docstrings.update(range(part.lineno, part.end_lineno + 1))
    first = getattr(node, "lineno", 1)
    lines = text.splitlines()[first - 1 : getattr(node, "end_lineno", None)]
    return sum(
        bool(line.strip()) and not line.strip().startswith("#") and number not in docstrings
        for number, line in enumerate(lines, first)
    )


def too_long(path: str, text: str) -> Iterator[str]:
    tree = ast.parse(text)
    if (lines := code_lines(text, tree)) > FILE_LINES:
        yield f"{path} has {lines} lines of code"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and (n := code_lines(text, node)) > FUNCTION_LINES:
            yield f"{path}: {node.name} has {n} lines of code"


def global_random(path: str, text: str) -> Iterator[str]:
    for call in ast.walk(ast.parse(text)):
        if isinstance(call, ast.Call):
            name = ast.unparse(call.func)
            draws = name.endswith(DRAWS) and "generator" not in {k.arg for k in call.keywords}
            unseeded = name.endswith("random.default_rng") and not (call.args or call.keywords)
            if name.startswith(GLOBAL_RANDOM) or draws or unseeded:
                yield f"{path}:{call.lineno} draws without a stream: {ast.unparse(call)}"


def syncs_in_update(path: str, text: str) -> Iterator[str]:
    """Find what waits for the device in ``update`` or a method it calls on self."""
    for cls in ast.walk(ast.parse(text)):
        if not isinstance(cls, ast.ClassDef):
            continue
        methods = {node.name: node for node in cls.body if isinstance(node, ast.FunctionDef)}
        reached, queue = set(), ["update", "_target", "_improve"]  # the last two from a base class
        while queue:
            name = queue.pop()
            if name in methods and name not in reached:
                reached.add(name)
                calls = [n for n in ast.walk(methods[name]) if isinstance(n, ast.Call)]
                for called in (ast.unparse(call.func) for call in calls):
                    queue.append(called.removeprefix("self."))
                    if called.endswith((".item", ".tolist", ".cpu", ".numpy")):
                        yield f"{path}: {cls.name}.{name} calls {called}()"


def idle_comparisons(path: str, text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Compare | ast.BoolOp):
            yield f"{path}:{node.lineno} compares without assert: {ast.unparse(node)}"


def layout(root: Path) -> Iterator[str]:
    for path in (root / "conf").rglob("*"):
        if path.is_file() and path.suffix == ".py" and path.read_text().strip():
            yield f"{path.relative_to(root)}: conf holds YAML and no logic"
    for test in (root / "tests").rglob("test_*.py"):
        folder = test.parent.relative_to(root / "tests").as_posix()
        places = (".", "benchmark", "algos", "analysis")
        mirrors = any((root / part / folder).is_dir() for part in places)
        if folder not in ("learn", "textbook") and not mirrors:
            yield f"{test.relative_to(root)} mirrors no folder"


FILE_RULES = {  # rule -> (folders it covers, a path and a text that break it)
    bad_imports: (OURS, "algos/dqn/x.py", "from ..tabular import y"),
    bare_names: ((*OURS, "tests"), "benchmark/x.py", "from algos.dqn import y"),
    too_long: (OURS, "benchmark/x.py", "def f():\n" + "    a = 1\n" * 60),
    global_random: ((*OURS, "tests"), "tests/x.py", "import torch\ntorch.manual_seed(0)"),
    syncs_in_update: (
        ("algos",),
        "algos/x.py",
        "class A:\n def update(self): self.f()\n def f(self): return self.loss.item()",
    ),
    idle_comparisons: ((*OURS, "tests"), "tests/x.py", "a == b"),
}


@pytest.mark.parametrize("rule", FILE_RULES, ids=lambda rule: rule.__name__)
def test_rule_holds(rule):
    folders = FILE_RULES[rule][0]
    assert [line for file in sources(*folders) for line in rule(*file)] == []


@pytest.mark.parametrize("rule", FILE_RULES, ids=lambda rule: rule.__name__)
def test_rule_can_fail(rule):
    _, path, text = FILE_RULES[rule]
    assert len(list(rule(path, text))) == 1


@pytest.mark.parametrize(
    "call",
    [
        "np.random.seed(0)",
        "random.random()",
        "torch.randn(3)",
        "weight.uniform_(-1, 1)",
        "np.random.default_rng()",
        "torch.nn.functional.dropout(x)",
    ],
)
def test_draws_without_a_stream_are_found(call):
    assert len(list(global_random("algos/x.py", call))) == 1
    assert not list(global_random("algos/x.py", "torch.randn(3, generator=g); stream.normal(3)"))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("algos/formulas/x.py", "import scipy"),
        ("algos/formulas/x.py", "from prism.algos.core import nets"),
        ("algos/core/x.py", "from ..dqn import dqn"),
        ("algos/core/x.py", "import gymnasium as gym"),
        ("algos/dqn/x.py", "import wandb"),
        ("algos/dqn/x.py", "from prism.benchmark.store import schema"),
        ("benchmark/x.py", "from prism.algos.core import nets"),
        ("benchmark/x.py", "def f():\n    import prism.algos.dqn.dqn"),
        ("benchmark/train/runner.py", "from hydra import compose"),
        ("algos/dqn/x.py", "from omegaconf import OmegaConf"),
        ("analysis/x.py", "from prism.benchmark.store import read_json"),
    ],
)
def test_forbidden_imports_are_found(path, text):
    assert len(list(bad_imports(path, text))) == 1


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("algos/core/x.py", "from gymnasium import spaces"),
        (
            "algos/dqn/x.py",
            "from prism.algos.core.rng import RandomStream\nfrom prism.algos.dqn import config",
        ),
        ("benchmark/plan/x.py", "import hydra\nfrom prism.algos.core.agent import Spec"),
        ("analysis/x.py", "from prism.benchmark.store.schema import STEP\nfrom . import data"),
    ],
)
def test_allowed_imports_are_not(path, text):
    assert list(bad_imports(path, text)) == []


@pytest.mark.parametrize("package", ROOMS)
def test_rooms_stand_in_order(package):
    order, most_layers, most_arrows = ROOMS[package]
    edges = arrows(package, sources(package))
    print(f"{package}: {layers(edges)} layers, {len(edges)} arrows between rooms")
    assert list(against(order, edges)) == []
    assert layers(edges) <= most_layers
    assert len(edges) <= most_arrows


def test_an_arrow_against_the_order_is_found():
    edges = arrows("benchmark", [("benchmark/util/x.py", "from ..store import records")])
    assert edges == {("util", "store")}
    assert len(list(against(ROOMS["benchmark"][0], edges))) == 1
    assert layers({("a", "b"), ("b", "c"), ("a", "c")}) == 3


def test_no_cycles():
    assert list(cycles(list(sources(*OURS)))) == []
    assert list(cycles([("a/x.py", "from a import y"), ("a/y.py", "import a.x")])) != []


def test_layout(tmp_path):
    assert list(layout(ROOT)) == []
    for name in ("conf/x.py", "tests/nowhere/test_x.py"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("x = 1")
    assert len(list(layout(tmp_path))) == 2
