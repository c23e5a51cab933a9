"""What the docstrings under the fields of dataclasses say."""

import ast
import functools
import inspect
import sys
from collections.abc import Mapping
from itertools import pairwise


@functools.cache
def read_field_docs(kind: type) -> Mapping[str, str]:
    """Return the docstring under each field of a class, its bases' too, each as one line; read once for each class.

    A field without one, or whose class has no source, is left out.

    Example:
        >>> from auxo.options import FamilyOptions
        >>> read_field_docs(FamilyOptions)["name"]
        'Which one; it decides which options there are. "auxo list" describes them.'
    """
    docs: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        body = _parse_classes(base.__module__).get(base.__qualname__, [])
        for item, below in pairwise(body):
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) and isinstance(below, ast.Expr):
                text = below.value.value if isinstance(below.value, ast.Constant) else None
                docs |= {item.target.id: " ".join(text.split())} if isinstance(text, str) else {}
    return docs


@functools.cache
def _parse_classes(module: str) -> Mapping[str, list[ast.stmt]]:
    """Return the bodies of a module's classes by qualified name; nothing where its source cannot be read."""
    found: dict[str, list[ast.stmt]] = {}

    def note(body: list[ast.stmt], prefix: str) -> None:
        for item in body:
            if isinstance(item, ast.ClassDef):
                found[prefix + item.name] = item.body
                note(item.body, f"{prefix}{item.name}.")
            elif isinstance(item, ast.FunctionDef):
                note(item.body, f"{prefix}{item.name}.<locals>.")

    try:
        note(ast.parse(inspect.getsource(sys.modules[module])).body, "")
    except (OSError, TypeError, KeyError):  # built in, made by a function, or typed at a prompt
        return {}
    return found
