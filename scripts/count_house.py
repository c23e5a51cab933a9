#!/usr/bin/env python3
"""Figures of the structure of the house, for one checkout or several side by side.

Each figure has a name, the pattern that it counts, and its value. Files are the ``*.py`` files in ``src/auxo``;
docstrings are all strings that stand alone, those under fields, too. Nothing of auxo is imported.

    scripts/count_house.py                    the checkout in the current folder
    scripts/count_house.py --list             the files and functions behind the figures, too
    scripts/count_house.py . ../before        two checkouts
"""

import argparse
import ast
import io
import re
import tokenize
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from importlib.util import resolve_name
from pathlib import Path
from typing import NamedTuple, Self, TypeAlias

CLASSIFICATION = re.compile(r"class_names|num_classes|class names|accuracy|\blabels\b", re.IGNORECASE)
RECORDS = "records.jsonl"
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 59

_STRINGS = {tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
_NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
_Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef


class Figure(NamedTuple):
    """A number with what it counts.

    Args:
        name: what it is.
        pattern: which lines, files or functions are counted.
        value: as it is printed.
        members: what was counted, for ``--list``.
        is_short: the members are printed without ``--list``, too.
    """

    name: str
    pattern: str
    value: str
    members: Sequence[str] = ()
    is_short: bool = False

    @classmethod
    def from_members(cls, members: Sequence[str], name: str, pattern: str, *, is_short: bool = False) -> Self:
        """Return the figure that is the number of its members."""
        return cls(name, pattern, str(len(members)), members, is_short)


class Source:
    """A module of auxo as text, syntax tree and tokens.

    Args:
        path: of the file.
        root: ``src/auxo``.
    """

    def __init__(self, path: Path, root: Path) -> None:
        self.place = path.relative_to(root).as_posix()
        self.text = path.read_text(encoding="utf-8")
        self.tree = ast.parse(self.text, filename=str(path))
        self.nodes = list(ast.walk(self.tree))
        self.functions = [node for node in self.nodes if isinstance(node, _Function)]
        self.is_face = path.name == "__init__.py"
        parts = path.relative_to(root.parent).with_suffix("").parts
        self.module = ".".join(parts[:-1] if self.is_face else parts)
        self.package = ".".join(parts[:-1])

    @cached_property
    def tokens(self) -> list[tokenize.TokenInfo]:
        """All tokens but docstrings."""
        spans = [
            ((node.lineno, node.col_offset), (node.end_lineno or 0, node.end_col_offset or 0))
            for node in self.nodes
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        ]
        found = tokenize.generate_tokens(io.StringIO(self.text).readline)
        return [t for t in found if t.type not in _STRINGS or not any(low <= t.start < high for low, high in spans)]

    @cached_property
    def num_code_lines(self) -> int:
        """Lines that are neither blank nor only comment or docstring."""
        lines = self.text.splitlines()
        coded = {n for t in self.tokens if t.type not in _NO_CODE for n in range(t.start[0], t.end[0] + 1)}
        return sum(bool(lines[number - 1].strip()) for number in coded)


# Sizes and words


def count_lines(sources: Sequence[Source]) -> list[Figure]:
    """Return how many files and lines there are."""
    code = sum(source.num_code_lines for source in sources)
    return [
        Figure("files", "*.py in src/auxo", str(len(sources))),
        Figure("lines", "all", str(sum(len(source.text.splitlines()) for source in sources))),
        Figure("lines of code", "without blanks, comments, docstrings", str(code)),
    ]


def measure_sizes(sources: Sequence[Source]) -> list[Figure]:
    """Return the largest file and function, and what is over the limits of ``tests/contract/test_house.py``."""
    files = [(len(source.text.splitlines()), source.place) for source in sources]
    functions = [((f.end_lineno or 0) - f.lineno, f"{s.place}:{f.name}") for s in sources for f in s.functions]
    figures = []
    for kind, sizes, limit, counted in (
        ("file", files, MAX_FILE_LINES, "lines"),
        ("function", functions, MAX_FUNCTION_LINES, "lines after the def line"),
    ):
        ordered = [f"{size} {place}" for size, place in sorted(sizes, reverse=True)]
        num_large = sum(size > limit for size, _ in sizes)
        figures.append(Figure(f"largest {kind}", f"most {counted}", ordered[0]))
        figures.append(Figure.from_members(ordered[:num_large], f"large {kind}s", f"more than {limit} {counted}"))
    return figures


def count_classification(sources: Sequence[Source]) -> list[Figure]:
    """Return the files that know of classification, by any text and by code only."""
    by_text = [source.place for source in sources if CLASSIFICATION.search(source.text)]
    by_code = [
        source.place
        for source in sources
        if any(CLASSIFICATION.search(t.string) for t in source.tokens if t.type in {tokenize.NAME, *_STRINGS})
    ]
    figures = []
    for places, way, pattern in (
        (by_text, "any text", f"{CLASSIFICATION.pattern}, any case"),
        (by_code, "code only", "the same in names and strings, without docstrings"),
    ):
        outside = sum(not place.startswith(("tasks/", "losses/")) for place in places)
        figures.append(Figure.from_members(places, f"files that know classification, by {way}", pattern))
        figures.append(Figure("  of these elsewhere", "not in tasks/, losses/", str(outside)))
    return figures


def count_style(sources: Sequence[Source]) -> list[Figure]:
    """Return figures of names, comments and lists of public names."""
    functions = [function.name for source in sources for function in source.functions]
    private = [name for name in functions if re.match("_[^_]", name)]
    short = sum("_" not in name[1:] for name in private)
    one_word = f"{short} of {len(private)}, {short / max(len(private), 1):.0%}"
    comments = sum(token.type == tokenize.COMMENT for source in sources for token in source.tokens)
    share = comments / sum(source.num_code_lines for source in sources)
    listing = sum(not source.is_face and "__all__" in _list_assigned(source.tree.body) for source in sources)
    tables = [
        f"{source.place}:{name}" for source in sources for name in _list_assigned(source.tree.body) & {"_READ_BY"}
    ]
    return [
        Figure.from_members(tables, "tables of who reads which option", "_READ_BY = in modules"),
        Figure("private functions named by one word", "def _[^_]+, methods too", one_word),
        Figure("comments per 100 lines of code", "#..., noqa too", f"{100 * share:.1f}"),
        Figure("__all__ outside package faces", "__all__ = in files but __init__.py", str(listing)),
    ]


def count_pictures(checkout: Path) -> Figure:
    """Return how often the word occurs in everything under ``src/auxo``, templates, too."""
    files = [path for path in (checkout / "src" / "auxo").rglob("*") if path.is_file()]
    texts = [path.read_text(encoding="utf-8") for path in files if "__pycache__" not in path.parts]
    count = sum(text.lower().count("picture") for text in texts)
    return Figure("the word picture", "picture, any case, all files of src/auxo", str(count))


# Imports


def count_entries(checkout: Path) -> Figure:
    """Return the modules and packages directly in auxo."""
    paths = list((checkout / "src" / "auxo").iterdir())
    modules = sum(path.suffix == ".py" and not path.name.startswith("__") for path in paths)
    packages = sum(path.is_dir() and any(path.glob("*.py")) for path in paths)
    value = f"{modules + packages}: {modules} modules, {packages} packages"
    return Figure("top entries of src/auxo", "*.py but __init__, __main__; folders of *.py", value)


def count_cycles(sources: Sequence[Source]) -> list[Figure]:
    """Return the cycles of imports among modules and among top entries, at run time and for the type checker."""
    known = {source.module: source for source in sources}
    run, typed = (
        {name: set(_list_imports(source, known, typing=typing)) for name, source in known.items()}
        for typing in (False, True)
    )
    tops: dict[str, set[str]] = {}
    for name, imported in run.items():
        top = _name_top(name)
        tops.setdefault(top, set()).update({_name_top(other) for other in imported} - {top})
    figures = []
    for graph, name, pattern in (
        (run, "import cycles of modules", "imports outside functions, TYPE_CHECKING"),
        (tops, "import cycles of top entries", "the same, each package as one"),
        (typed, "import cycles for the type checker", "of modules, TYPE_CHECKING too"),
    ):
        cycles = [", ".join(sorted(cycle)) for cycle in find_cycles(graph) if len(cycle) > 1]
        figures.append(Figure.from_members(cycles, name, pattern, is_short=True))
    return figures


def find_cycles(graph: Mapping[str, set[str]]) -> list[frozenset[str]]:
    """Return the strongly connected parts of a graph, those of one node only where it points to itself."""
    reached: dict[str, set[str]] = {}
    for start in graph:
        reached[start], waiting = set(), [start]
        while waiting:
            new = graph[waiting.pop()] - reached[start]
            reached[start] |= new
            waiting += new
    cycles = {frozenset(n for n in nodes if start in reached[n]) for start, nodes in reached.items() if start in nodes}
    return sorted(cycles, key=sorted)


def _name_top(module: str) -> str:
    """Return the top entry that a module belongs to."""
    return ".".join(module.split(".")[:2])


def _list_imports(source: Source, known: Mapping[str, Source], *, typing: bool) -> Iterator[str]:
    """Yield the modules that a module imports; a module of a package does not count as an import of its face."""
    for node in _walk_executed(source.tree, typing=typing):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and (package := _resolve_package(source, node)) in known:
            given = _list_given(known[package])
            for alias in node.names:
                inner = f"{package}.{alias.name}"
                yield inner if inner in known and alias.name not in given else package


def _resolve_package(source: Source, node: ast.ImportFrom) -> str:
    """Return the dotted name after ``from``."""
    return resolve_name("." * node.level + (node.module or ""), source.package)


def _list_given(face: Source) -> set[str]:
    """Return the names that a module defines, or imports out of others; they hide modules of the same name."""
    nodes = list(_walk_executed(face.tree, typing=False))
    froms = [n for n in nodes if isinstance(n, ast.ImportFrom) and _resolve_package(face, n) != face.module]
    imported = {alias.asname or alias.name for node in froms for alias in node.names}
    return imported | _list_assigned(nodes) | {n.name for n in nodes if isinstance(n, _Function | ast.ClassDef)}


def _walk_executed(node: ast.AST, *, typing: bool) -> Iterator[ast.AST]:
    """Yield what runs when a module is imported: nothing in functions; what is for type checkers only if ``typing``."""
    for child in ast.iter_child_nodes(node):
        yield child
        if isinstance(child, ast.If) and not typing and re.search(r"^(\w+\.)?TYPE_CHECKING$", ast.unparse(child.test)):
            child = ast.Module(child.orelse, [])
        if not isinstance(child, _Function | ast.Lambda):
            yield from _walk_executed(child, typing=typing)


# Readers and walkers


def count_readers(sources: Sequence[Source]) -> list[Figure]:
    """Return the files that read the records of a run, and those that name their file."""
    others = [source for source in sources if all(f.name != "read_records" for f in source.functions)]
    readers = [source.place for source in others if _reads_records(source)]
    naming = [s.place for s in others if any(RECORDS in t.string for t in s.tokens if t.type in _STRINGS)]
    return [
        Figure.from_members(readers, f"readers of {RECORDS}", "files with read_records( or that open it to read"),
        Figure.from_members(naming, f"files that name {RECORDS}", "in strings of code, messages too"),
    ]


def _reads_records(source: Source) -> bool:
    """Return whether a module calls ``read_records``, or opens what it calls ``records.jsonl``."""
    assigned = [n for n in source.nodes if isinstance(n, ast.Assign) and RECORDS in ast.unparse(n.value)]
    meant = "|".join(rf"\b{re.escape(word)}\b" for word in (RECORDS, *_list_assigned(assigned)))
    for call in _list_calls(source.nodes):
        name, text = _name_called(call), ast.unparse(call)
        is_opening = re.search(r"\b(open|read_text|read_bytes)$", name) and not re.search(r"['\"][wax]b?['\"]", text)
        if name.endswith("read_records") or (is_opening and re.search(meant, text)):
            return True
    return False


def count_walkers(sources: Sequence[Source]) -> list[Figure]:
    """Return the functions that walk a tree of dataclasses, and those that take any dataclass apart."""
    walkers, takers = [], []
    for source in sources:
        graph: dict[str, set[str]] = {function.name: set() for function in source.functions}
        for function in source.functions:
            graph[function.name] |= _list_mentioned(function) & graph.keys()
        walking = {function.name for function in source.functions if _lists_fields(function) or _replaces(function)}
        walkers += [f"{source.place}:{'+'.join(sorted(c))}" for c in find_cycles(graph) if c & walking]
        takers += [f"{source.place}:{f.name}" for f in source.functions if _lists_fields(f, of_any=True)]
    pattern = "recursive; fields(, is_dataclass( or replace( + getattr("
    return [
        Figure.from_members(walkers, "walkers of the config tree", pattern),
        Figure.from_members(
            takers, "takers apart of any dataclass", "fields(x) or is_dataclass(x), x no Class, no self"
        ),
    ]


def _list_mentioned(function: _Function) -> set[str]:
    """Return the names that a function calls or hands on, also as ``self.name``."""
    nodes = list(_walk_own(function))
    own = [n for n in nodes if isinstance(n, ast.Attribute) and ast.unparse(n.value) in ("self", "cls")]
    return {node.id for node in nodes if isinstance(node, ast.Name)} | {node.attr for node in own}


def _lists_fields(function: _Function, *, of_any: bool = False) -> bool:
    """Return whether a function lists the fields of a dataclass; ``of_any``, of one that is not known beforehand."""
    pattern = re.compile(r"(dataclasses\.)?(fields|is_dataclass)")
    calls = [call for call in _list_calls(_walk_own(function)) if pattern.fullmatch(_name_called(call))]
    values = [" ".join(map(ast.unparse, call.args)) for call in calls]
    return any(not of_any or not re.search(r"^_?[A-Z]\w*$|\bself\b", value) for value in values)


def _replaces(function: _Function) -> bool:
    """Return whether a function changes fields whose names it is told."""
    calls = list(_list_calls(_walk_own(function)))
    named = [argument for call in calls if _name_called(call) == "getattr" for argument in call.args[1:2]]
    by_name = any(not isinstance(argument, ast.Constant) for argument in named)
    return by_name and any(_name_called(call) in ("replace", "dataclasses.replace") for call in calls)


# Syntax trees


def _walk_own(function: _Function) -> Iterator[ast.AST]:
    """Yield the nodes of a function without those of functions within it."""
    waiting: list[ast.AST] = list(ast.iter_child_nodes(function))
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, _Function):
            waiting += ast.iter_child_nodes(node)


def _list_calls(nodes: Iterable[ast.AST]) -> Iterator[ast.Call]:
    """Yield the calls among nodes."""
    return (node for node in nodes if isinstance(node, ast.Call))


def _name_called(call: ast.Call) -> str:
    """Return what is called, as it is written."""
    return ast.unparse(call.func)


def _list_assigned(nodes: Iterable[ast.AST]) -> set[str]:
    """Return the names that assignments among nodes set."""
    assigned = [node for node in nodes if isinstance(node, ast.Assign | ast.AnnAssign)]
    targets = [t for node in assigned for t in (node.targets if isinstance(node, ast.Assign) else [node.target])]
    return {node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)}


# Table


def count_house(checkout: Path) -> list[Figure]:
    """Return all figures of a checkout.

    Raises:
        SyntaxError: a file is no Python.
    """
    root = checkout / "src" / "auxo"
    sources = [Source(path, root) for path in sorted(root.rglob("*.py"))]
    figures = [*count_lines(sources), *count_classification(sources), count_entries(checkout), *count_cycles(sources)]
    figures += [*count_readers(sources), *count_walkers(sources), *measure_sizes(sources), *count_style(sources)]
    return [*figures, count_pictures(checkout)]


def print_figures(columns: Mapping[str, list[Figure]], *, is_all: bool) -> None:
    """Print a table with a column for each checkout, then what was counted: the short lists, or ``is_all``."""
    rows = [["figure", "[pattern]", *columns]]
    for figures in zip(*columns.values(), strict=True):
        rows.append([figures[0].name, f"[{figures[0].pattern}]", *(figure.value for figure in figures)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(map(str.ljust, row, widths)).rstrip())
    for title, counted in columns.items():
        for figure in counted:
            if figure.members and (is_all or figure.is_short):
                print(f"\n{title}, {figure.name}:", *figure.members, sep="\n  ")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("checkouts", metavar="CHECKOUT", nargs="*", type=Path, default=[Path()])
    parser.add_argument("--list", action="store_true", help="print the files and functions behind the figures, too")
    arguments = parser.parse_args()
    paths = [checkout.resolve() for checkout in arguments.checkouts]
    for path in paths:
        if not (path / "src" / "auxo" / "__init__.py").is_file():
            parser.error(f"expected a folder with src/auxo, got {path}: give the root of a checkout")
    is_clear = len({path.name for path in paths}) == len(paths)
    try:
        columns = {path.name if is_clear else str(path): count_house(path) for path in paths}
    except (SyntaxError, UnicodeDecodeError) as error:
        parser.error(f"expected files that Python can read, got {error}")
    print_figures(columns, is_all=arguments.list)


if __name__ == "__main__":
    main()
