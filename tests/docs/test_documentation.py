"""What the documentation says, checked against the code: blocks, commands, links, lists."""

import ast
import csv
import importlib
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

import auxo
from auxo.cli import main
from auxo.cli.compare import Options as ComparisonOptions
from auxo.cli.compare import _read_words
from auxo.cli.executor import ExecutorOptions
from auxo.cli.label_quality import Options as LabelQualityOptions
from auxo.cli.label_quality import _read_words as read_labellers
from auxo.cli.options import parse_options
from auxo.cli.sweep import Options as SweepOptions
from auxo.cli.sweep import _read_words as read_sweep_options
from auxo.cli.train import _plan_run
from auxo.cli.verify import Options as VerifyOptions
from auxo.data import DataConfig
from auxo.optimizers import OptimizerConfig, TuningConfig
from auxo.registry import entries
from auxo.runs.document import load_recipe
from auxo.runs.experiment import StageConfig, TrainingConfig
from auxo.runtime import RuntimeConfig

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("docs/**/*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^()\s]+)\)")
SNIPPET = re.compile(r'^--8<-- "([^":]+)(?::(\w+))?"$', re.MULTILINE)
INLINE = re.compile(
    r"`(auxo (?:train|compare|sweep|label-quality|evaluate|audit|predict|explain|export|report|estimate|adapt|verify)"
    r" [^`]+"
    r"|auxo (?:list|doctor)\b[^`]*)`"
)
PLACEHOLDER = re.compile(r"…|\b[A-Z]{3,}\b|\{")


def text_of(page):
    """The text of a page with the parts of other files that it takes in."""

    def replacement(found):
        path, section = found.groups()
        part = (ROOT / path).read_text(encoding="utf-8")
        if section is not None:
            part = part.partition(f"[start:{section}]")[2].partition(f"[end:{section}]")[0]
            assert part, f"{page} takes the section {section} of {path}, which is not there"
        return part.rstrip("\n")

    return SNIPPET.sub(replacement, page.read_text(encoding="utf-8"))


def blocks(page, *languages):
    """The blocks in these languages: the number of their first line, and the text."""
    text = text_of(page)
    for found in FENCE.finditer(text):
        if found[1] in languages:
            yield text.count("\n", 0, found.start(2)), found[2]


def commands():
    """Every command of every page, each once."""
    seen = set()
    for page in PAGES:
        lines = [line for _, block in blocks(page, "console", "bash") for line in block.splitlines() if line.strip()]
        prose = FENCE.sub("", text_of(page))
        lines += [found for found in INLINE.findall(prose) if not PLACEHOLDER.search(found)]
        for line in lines:
            if line not in seen:
                seen.add(line)
                yield pytest.param(line, id=f"{page.name}: {line}")


def name_of(page):
    return str(page.relative_to(ROOT))


def call(words):
    """Run a command of auxo in this process and return its exit code."""
    with pytest.raises(SystemExit) as stop:
        main(words)
    return stop.value.code


def fill_labels(path):
    """Label images by the folders that they are in."""
    header, *rows = csv.reader(path.read_text(encoding="utf-8").splitlines())
    filled = [[number, image, Path(image).parent.name, planned] for number, image, _, planned in rows]
    path.write_text("".join(",".join(row) + "\n" for row in [header, *filled]), encoding="utf-8")


@pytest.fixture(scope="module")
def place(photos):
    """A working directory in which the documented commands make sense."""
    root = photos.parent
    shutil.copytree(ROOT / "examples", root / "examples")
    (_, stages), *_ = blocks(ROOT / "docs" / "concepts" / "stages.md", "python")
    (root / "two_stages.py").write_text(stages, encoding="utf-8")
    puzzles = [block for _, block in blocks(ROOT / "docs" / "concepts" / "pretexts.md", "python")]
    (root / "bright.py").write_text(next(text for text in puzzles if "class Brightness" in text), encoding="utf-8")
    tiny = ["--data.train", str(photos / "train"), "--epochs", "1", "--device", "cpu", "--training.no-tensorboard"]
    assert call(["train", "ossl", *tiny, "--out", str(root / "runs" / "ossl-own-seed0")]) == 0
    for name in ("interrupted", "ossl-digits-seed0"):
        shutil.copytree(root / "runs" / "ossl-own-seed0", root / "runs" / name)
    assert call(["export", str(root / "runs" / "ossl-own-seed0"), "--out", str(root / "exported")]) == 0
    words = ["estimate", str(root / "runs" / "ossl-digits-seed0"), str(photos / "elsewhere"), "--labels", "50"]
    assert call([*words, "--out", str(root / "labelled.csv")]) == 0
    fill_labels(root / "labelled.csv")
    normed = str(root / "runs" / "supervised-own-seed0")  # with batch norm, to be adapted
    assert call(["train", "supervised", *tiny, "--backbone.name", "resnet8", "--out", normed]) == 0
    assert call(["adapt", normed, str(photos / "elsewhere")]) == 0
    recipe = str(root / "examples" / "my_method.py")
    assert call(["train", recipe, *tiny, "--out", str(root / "runs" / "my-run")]) == 0
    task = f"{root / 'examples' / 'my_task.py'}:recipe"
    assert call(["train", task, *tiny[2:], "--out", str(root / "runs" / "my_task-own-seed0")]) == 0
    assert call(["train", "segmenter", *tiny[2:], "--out", str(root / "runs" / "segmenter-textured_scenes-seed0")]) == 0
    coloured = ("--data.scenario", "coloured_digits", "--data.num-train", "200", *tiny[2:])
    assert (
        call(["train", "supervised", *coloured, "--out", str(root / "runs" / "supervised-coloured_digits-seed0")]) == 0
    )
    return root


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_blocks__in_order__run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "documentation"}
    for line, block in blocks(page, "python"):
        exec(compile("\n" * line + block, name_of(page), "exec"), names)


def run_auxo(words):
    """Run a command, or for training only read its options."""
    if words[:1] == ["train"] and not {"-h", "--help"} & set(words):
        _plan_run(words[1:])
    elif words[:1] == ["compare"]:
        _read_words(words[1:])
    elif words[:1] == ["label-quality"]:
        read_labellers(words[1:])
    elif words[:1] == ["sweep"]:
        read_sweep_options(words[1:])
    elif words[:1] == ["verify"] and "WORLD_SIZE" in os.environ:  # tests/distributed runs it in two processes
        parse_options(VerifyOptions, words[1:], command="auxo verify")
    else:
        assert call(words) == 0


def check_other(words):
    """Check that what a command of another program names is there."""
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    elif words[:3] == ["python3", "-m", "venv"]:
        assert words[3:] == [".venv"]
    elif words[:4] == [".venv/bin/python", "-m", "pip", "install"]:
        assert (ROOT / words[words.index("--constraint") + 1]).is_file()
    elif words[0] == "python":
        text = (ROOT / words[1]).read_text(encoding="utf-8")
        for option in (word for word in words if word.startswith("--")):
            assert option.removeprefix("--").replace("-", "_") in text, option
    elif words[0] == "pytest":
        places = [word for word in words if word.startswith("tests/")]
        assert places
        assert all((ROOT / place).exists() for place in places)
    elif words[0].startswith("scripts/"):
        assert os.access(ROOT / words[0], os.X_OK)
    else:
        raise AssertionError(f"nothing checks {words[0]}")


@pytest.mark.parametrize("line", list(commands()))
def test_commands__every_line__runs_or_is_understood(line, place, monkeypatch):
    monkeypatch.chdir(place)
    words = [word for word in shlex.split(line) if not re.match(r"[A-Z_]+=", word)]
    if words[0] in ("auxo", ".venv/bin/auxo"):
        run_auxo(words[1:])
    elif words[0] == "torchrun":
        monkeypatch.setenv("WORLD_SIZE", words[words.index("--nproc-per-node") + 1])
        assert words[words.index("-m") + 1] == "auxo"
        run_auxo(words[words.index("-m") + 2 :])
    else:
        check_other(words)


def anchors(page):
    """The anchors of a page's headings, as mkdocs makes them."""
    text = FENCE.sub("", text_of(page))
    headings = re.findall(r"^#{1,6} (.+)$", text, re.MULTILINE)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links__relative_ones__exist(page):
    for target in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{name_of(page)} links to {target}"
        assert not anchor or anchor in anchors(file), f"{name_of(page)} links to {target}"


def test_pictures__all_but_the_screenshots__are_made_by_the_script():
    pages = "".join(text_of(page) for page in PAGES)
    script = (ROOT / "docs" / "pictures.py").read_text(encoding="utf-8")
    for picture in (ROOT / "docs" / "assets").glob("*.png"):
        is_measured = f"--picture docs/assets/{picture.name}" in pages  # by a benchmark, with its numbers
        assert is_measured or picture.name in ("demo.png", "demo_during.png") or f'"{picture.name}"' in script


@pytest.mark.parametrize("kind", ["methods", "pretexts"])
def test_registry__methods_and_pretexts__have_a_page_each(kind):
    for name in entries(kind):
        assert (ROOT / "docs" / kind / f"{name}.md").is_file(), name


@pytest.mark.parametrize(
    ("kind", "page"), [("gates", "gates"), ("backbones", "backbones"), ("data.scenarios", "scenarios")]
)
def test_registry__gates_backbones_and_scenarios__have_a_section_each(kind, page):
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    titles = {name for line in re.findall(r"^## (.+)$", text, re.MULTILINE) for name in line.split(", ")}
    assert set(entries(kind)) <= titles


def options(kind, prefix):
    """The options that a dataclass of the configuration becomes."""
    for field in fields(kind):
        name = f"{prefix}{field.name.replace('_', '-')}"
        inner = field.default_factory() if callable(field.default_factory) else None
        if is_dataclass(inner):
            yield from options(type(inner), f"{name}.")
        else:
            yield name


def options_of_method(name):
    """The options of a method in its recipe, but for those of optimisers."""
    stages = load_recipe(name).stages
    stage = next(each for each in stages if type(each.method).__module__ == entries("methods")[name].module)
    prefix = "method." if len(stages) == 1 else f"{stage.name}.method."
    return [option for option in options(type(stage.method), prefix) if "optimizer." not in option]


def says(text, option):
    """Whether a text names an option, itself or its negation."""
    head, dot, last = option.rpartition(".")
    return re.search(rf"--{re.escape(head + dot)}(no-)?{re.escape(last)}(?![\w-])", text) is not None


@pytest.mark.parametrize("name", entries("methods"))
def test_options__of_every_method__are_on_its_page(name):
    text = (ROOT / "docs" / "methods" / f"{name}.md").read_text(encoding="utf-8")
    assert [option for option in options_of_method(name) if not says(text, option)] == []


def test_options__of_every_run__are_in_the_documentation():
    text = "\n".join(text_of(page) for page in PAGES)
    known = [
        *options(DataConfig, "data."),
        *options(TrainingConfig, "training."),
        *options(OptimizerConfig, "method.optimizer."),
        *options(TuningConfig, "tuning."),
        *(name for name in options(RuntimeConfig, "runtime.") if name != "runtime.device"),
        *(field.name.replace("_", "-") for field in fields(StageConfig) if field.name in ("epochs", "selection")),
        *("backbone.name", "backbone.pretrained", "backbone.weights"),
        *("device", "seed", "batch-size", "code", "config", "resume", "out"),
    ]
    assert [option for option in known if not says(text, option)] == []


def test_options__of_label_quality__are_on_its_page():
    text = (ROOT / "docs" / "pixel-labels.md").read_text(encoding="utf-8")
    assert [option for option in options(LabelQualityOptions, "") if not says(text, option)] == []


@pytest.mark.parametrize(("page", "own"), [("compare", ComparisonOptions), ("sweep", SweepOptions)])
def test_options__of_commands_that_make_many_runs__are_on_their_pages(page, own):
    text = (ROOT / "docs" / "concepts" / f"{page}.md").read_text(encoding="utf-8")
    known = [*(name for name in options(own, "") if not name.startswith("where.")), *options(ExecutorOptions, "")]
    assert [option for option in known if not says(text, option)] == []


def test_options__of_verify__are_on_its_page():
    text = (ROOT / "docs" / "concepts" / "verify.md").read_text(encoding="utf-8")
    known = [name.removeprefix("how.") for name in options(VerifyOptions, "") if name != "run"]
    assert [option for option in known if not says(text, option)] == []


def test_layers__as_contributing_gives_them__are_those_of_the_test():
    tree = ast.parse((ROOT / "tests" / "contract" / "test_house.py").read_text(encoding="utf-8"))
    rows = next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "ROWS"
    )
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    said = next(
        block for block in re.findall(r"```text\n(.*?)```", text, re.DOTALL) if block.strip().startswith("errors")
    )
    assert [row.strip().split(", ") for row in " ".join(said.split()).split("<")] == rows


def test_changelog__version__is_there():
    assert f"## [{auxo.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_site__strict__builds_and_fetches_nothing(tmp_path):
    if importlib.util.find_spec("mkdocs") is None or importlib.util.find_spec("material") is None:
        pytest.skip("mkdocs-material is not installed; make docs installs it")
    program = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(program, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    loads = re.compile(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=[\"']?(?:https?:)?//")
    for page in tmp_path.rglob("*.html"):
        assert not loads.search(page.read_text(encoding="utf-8")), page.name
