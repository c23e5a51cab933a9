"""Command lines that nobody should get through: every command, with words that are wrong by a draw."""

import contextlib
import io
import re
from typing import NamedTuple

from .spoil import STRANGE_WORDS

_OPTION = re.compile(r"^[│ ] *--(\w[\w.-]*)(?:, --[\w.-]+)?(?: (\S.*?))?(?:  .*)?[ │]*$", re.MULTILINE)
_NEVER = {
    "INT": ("", "x", "nan", "inf", "1e3", "1.5", "0x10", "9" * 30, "-" + "9" * 30, "1" * 5000, "1\n2"),
    "FLOAT": ("", "x", "nan", "1,5", "0x1p3", "-nan", "1e", "--", "1.5.5"),
    "{": ("", "x", "nan", "\x1b[2J", "x" * 5000, "0"),
}
"""Words that no option of a kind takes, by how its kind begins in the help."""

BASES = {
    "train": ["train", "ossl", "--data.train", "gone", "--out", "out"],
    "compare": [
        "compare",
        "--methods",
        "ossl",
        "--seeds",
        "1",
        "--epochs",
        "1",
        "--data.train",
        "gone",
        "--out",
        "out",
    ],
    "sweep": ["sweep", "ossl", "--data.train", "gone", "--search", "seed=choice:1,2", "--trials", "1", "--out", "out"],
    "evaluate": ["evaluate", "run", "--data", "gone"],
    "predict": ["predict", "run", "gone"],
    "estimate": ["estimate", "run", "gone"],
    "adapt": ["adapt", "run", "gone"],
    "explain": ["explain", "run", "--out", "file/x"],
    "audit": ["audit", "run", "--columns", "site", "--out", "file/x"],
    "report": ["report", "run", "--layer", "none", "--out", "gone/x.html"],
    "export": ["export", "run", "--format", "safetensors", "--out", "file/x"],
    "verify": ["verify", "run", "--out", "gone/x.json"],
    "label-quality": ["label-quality", "segmentation", "--data.train", "gone", "--out", "file/x"],
    "list": ["list", "nothing", "now"],
    "doctor": ["doctor", "now"],
}
"""Commands that are refused at the end whatever else is wrong: their data are gone, or their results have no place."""


class Option(NamedTuple):
    """An option as the help shows it: its name, and what it takes; nothing where it is a switch."""

    name: str
    takes: str


class Line(NamedTuple):
    """A command line, and the option of which a value is wrong, which the refusal must name; none where it need not."""

    words: list[str]
    names: str = ""


def read_options(name):
    """Return the options of a command, from its help."""
    words = [word for word in BASES[name][:2] if word not in ("run", "nothing", "now") and not word.startswith("-")]
    shown = run_command([*words, "--help"]).out
    return [Option(found[1], found[2] or "") for found in _OPTION.finditer(shown) if found[1] != "help"]


class Said(NamedTuple):
    """How a command left, and what it said."""

    code: int
    out: str
    err: str


def run_command(words):
    """Run a command in this process; whatever it raises but SystemExit is passed on."""
    from auxo.cli import main

    out, err = io.StringIO(), io.StringIO()
    code = None
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main([str(word) for word in words])
    except SystemExit as stop:
        code = int(stop.code or 0)
    assert code is not None, "the command did not exit"
    return Said(code, out.getvalue(), err.getvalue())


def is_refusal(line, code, said):
    """Return whether a command refused a line as it should: exit code 2, and one line that names what is wrong."""
    is_line = said.startswith("auxo: expected ") and said.count("\n") == 1 and len(said) < 2000
    return code == 2 and is_line and line.names.rpartition(".")[2] in said.replace("_", "-")


def read_contents(root):
    """Return every path below a folder with its bytes."""
    return {path: path.read_bytes() if path.is_file() else None for path in sorted(root.rglob("*"))}


def spoil_line(name, options, draws):
    """Return a command line with something wrong in it."""
    return draws.choice(_CHANGES)(BASES[name], options, draws)


def _give_wrong_value(base, options, draws):
    """Give an option a word that it never takes."""
    known = [(option, kind) for option in options for kind in _NEVER if _kind_of(option).startswith(kind)]
    if not known:
        return _put_word_in(base, options, draws)
    option, kind = draws.choice(known)
    word = draws.choice(_NEVER[kind])
    return Line(_with_value(base, option.name, word, draws), option.name)


def _kind_of(option):
    """Return what an option takes, without what says that it may be nothing or several."""
    return option.takes.removeprefix("{None}|").lstrip("[")


def _give_strange_value(base, options, draws):
    """Give an option any strange word, which it may take."""
    if not options:
        return _put_word_in(base, options, draws)
    option = draws.choice([option for option in options if option.name != "out"])  # which may be any place
    return Line(_with_value(base, option.name, draws.choice(STRANGE_WORDS), draws))


def _with_value(base, name, word, draws):
    spelled = draws.choice([f"--{name}", f"--{name.replace('-', '_')}"])
    return [*base, f"{spelled}={word}"] if draws.random() < 0.5 or word.startswith("-") else [*base, spelled, word]


def _misspell(base, options, draws):
    """Misspell an option, or a word of the command."""
    name = draws.choice(options).name if options else "loud"
    place = draws.randrange(len(name))
    wrong = draws.choice([name[:place] + "x" + name[place:], name.upper(), name + ".x", "." + name, name + "\x00"])
    return Line([*base, f"--{wrong}", "1"])


def _leave_value_out(base, options, draws):
    """End with an option that takes a value."""
    known = [option.name for option in options if option.takes and not option.takes.startswith("[")]
    return Line([*base, f"--{draws.choice(known)}"], "") if known else Line([*base, "--"])


def _put_word_in(base, _options, draws):
    """Put a strange word anywhere behind the command."""
    place = draws.randint(1, len(base))
    return Line([*base[:place], draws.choice([word for word in STRANGE_WORDS if word]), *base[place:]])


def _change_word(base, _options, draws):
    """Change a word of the command line, or leave it out."""
    place = draws.randrange(len(base))
    place -= base[place - 1] == "--out"  # whose value is often all that is wrong, and might become a good one
    kept = [draws.choice(STRANGE_WORDS)] if draws.random() < 0.8 and place else ["nothing"] if not place else []
    return Line([*base[:place], *kept, *base[place + 1 :]])


def _choose_bad_place(base, _options, draws):
    """Name a place that cannot be written."""
    place = draws.choice(
        ["/proc/x", "file/x/y", "/dev/null/x", "x" * 300, "a\x00b", "\udcff/x", "gone/../file/x", "/sys/x"]
    )
    return Line([*base, "--out", place])


def _double(base, options, draws):
    """Give two options at once that exclude each other, or one twice."""
    pairs = (["--config", "run/config.json"], ["--resume", "run"], ["--help=x"], ["--version"], ["--out", "a", "b"])
    return Line([*base, *draws.choice(pairs), *draws.choice(pairs)])


_CHANGES = (
    *(_give_wrong_value, _give_wrong_value, _give_wrong_value, _give_strange_value, _give_strange_value),
    *(_misspell, _leave_value_out, _put_word_in, _change_word, _choose_bad_place, _double),
)
