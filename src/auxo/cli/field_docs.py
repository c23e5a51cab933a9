"""What the docstrings under the fields of dataclasses say."""

import ast
import functools
import inspect
import textwrap
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
        try:
            body = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0]
        except (OSError, TypeError, SyntaxError):  # built in, made by a function, or a text that dedent breaks
            continue
        for item, below in pairwise(body.body if isinstance(body, ast.ClassDef) else ()):
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) and isinstance(below, ast.Expr):
                text = below.value.value if isinstance(below.value, ast.Constant) else None
                docs |= {item.target.id: " ".join(text.split())} if isinstance(text, str) else {}
    return docs
