"""The rules of the house that a machine can check."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import auxo

ROOT = Path(auxo.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))

# From the bottom up: a module may import from its own part and from earlier rows, never sideways or upwards.
ROWS = [
    ["errors"],
    ["registry"],
    ["options"],
    ["types"],
    ["random"],
    ["files", "layers"],
    ["runtime"],
    ["optimizers"],
    ["losses"],
    ["tasks", "bilevel"],
    ["interfaces"],
    ["gates"],
    ["backbones", "pretexts", "solvers", "data"],
    ["runs"],
    ["methods"],
    ["evaluation", "recipes"],
    ["training"],
    ["explain", "export", "jobs"],
    ["estimation"],
    ["adaptation"],
    ["comparison", "sweep"],
    ["reporting"],
    ["cli"],
]
ROW_OF = {part: number for number, row in enumerate(ROWS) for part in row}


def part_of(dotted):
    """The second word of ``auxo.part.module``."""
    return dotted.split(".")[1] if dotted.count(".") else None


@pytest.fixture(scope="module")
def trees():
    """Every module as a syntax tree."""
    return {dotted(path): ast.parse(path.read_text(encoding="utf-8")) for path in MODULES}


def dotted(path):
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(tree):
    """The parts of auxo that a module imports, also inside functions."""
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module] if node.module != "auxo" else [f"auxo.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        yield from (part for name in names if name.startswith("auxo.") and (part := part_of(name)) is not None)


def test_imports__every_module__go_down_only(trees):
    wrong = []
    for name, tree in trees.items():
        own = part_of(name)
        if own is None or own == "__main__":
            continue
        assert own in ROW_OF, f"{own} has no row: add it to ROWS"
        is_method = own == "methods" and name != "auxo.methods"
        allowed = {part for part in ROW_OF if ROW_OF[part] < ROW_OF[own]} | (set() if is_method else {own})
        wrong += [f"{name} imports auxo.{part}" for part in imported(tree) if part not in allowed]
    assert not wrong


def test_all__every_module__only_package_faces_have_it_and_it_holds(trees):
    for path in MODULES:
        name = dotted(path)
        tree = trees[name]
        listed = [
            ast.literal_eval(node.value)
            for node in tree.body
            if isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and node.targets[0].id == "__all__"
        ]
        if path.name != "__init__.py":
            assert not listed, f"{name} is no package face: what starts without _ is public there"
            continue
        names = [public for group in listed for public in group]
        assert len(set(names)) == len(names), name
        absent = [public for public in names if not hasattr(importlib.import_module(name), public)]
        assert not absent, f"{name} lists {absent}"
        defined = {n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef) and n.name[0] != "_"}
        assert defined <= set(names), f"{name} hides {defined - set(names)}"


def test_size__every_file_and_function__is_small(trees):
    lengths = {dotted(path): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert not {name: length for name, length in lengths.items() if length > 400}
    functions = [(name, n) for name, tree in trees.items() for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]
    assert not [f"{n.name} in {name}" for name, n in functions if n.end_lineno - n.lineno >= 60]


def test_print__only_what_escapes_controls(trees):
    calls = {
        name
        for name, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    }
    assert calls == {"auxo.cli.words"}, "use auxo.cli.words.say"


WITHOUT_TORCH = (
    "", "--help", "list", "list --help", "trian", "train", "train --help", "train osl", "train ossl --help",
    "train bissl --help", "train ossl --epocs 3", "train ossl --backbone.name lenet",
    "train ossl --data.scenario digitz", "train joint_training --pretext.name rotat", "compare --help",
    "compare digitz --methods ossl", "compare digits --methods osl", "compare digits --methods ossl --sedes 3",
    "sweep --help", "sweep ossl --help", "sweep ossl --epocs 3", "label-quality --help", "evaluate --help",
    "evaluate nowhere", "predict", "predict --help", "estimate --help", "adapt --help", "adapt nowhere x",
    "explain --help", "audit --help", "report --help", "export --help", "verify --help", "doctor --help",
)  # fmt: skip


def test_import__help_lists_and_mistyped_names__do_not_import_torch():
    program = (
        "import sys, auxo\n"
        "from auxo.cli import main\n"
        f"for words in {WITHOUT_TORCH!r}:\n"
        "    try:\n"
        "        main(words.split())\n"
        "    except SystemExit:\n"
        "        pass\n"
        "    assert 'torch' not in sys.modules, words\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


NEEDED_LATER = (
    "captum", "datasets", "jinja2", "matplotlib", "onnx", "optuna", "pandas", "plotly", "pyarrow", "ray",
    "scipy.optimize", "scipy.stats", "sklearn", "timm", "transformers",
)  # fmt: skip


def test_import__the_trainer_up_to_its_first_step__leaves_libraries_that_others_need_unread(tmp_path):
    program = (
        "import sys\n"
        "from auxo.cli import train\n"
        "from auxo.runtime import Runtime\n"
        f"later = {NEEDED_LATER!r}\n"
        "assert not [name for name in later if name in sys.modules], 'at the import'\n"
        "apply = Runtime.apply\n"
        "def first(*args, **options):\n"
        "    apply(*args, **options)\n"
        "    print('step', [name for name in later if name in sys.modules])\n"
        "    raise SystemExit\n"
        "Runtime.apply = first\n"
        f"train.run(['supervised', '--device', 'cpu', '--out', {str(tmp_path / 'run')!r}])\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "step []" in result.stdout, result.stdout
