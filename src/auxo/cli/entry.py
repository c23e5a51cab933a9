"""From words to an exit code: finds the command, runs it, and says in one line what went wrong."""

import difflib
import importlib
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import pairwise, takewhile
from pathlib import Path

import auxo
from auxo.cli.run_folder import require_run
from auxo.cli.usage import train_usage
from auxo.cli.words import say
from auxo.errors import AuxoError, ConfigError, DeviceError, InterruptedRunError, is_out_of_memory
from auxo.registry.outside import is_of_user

COMMANDS = {
    "train": "train a model and judge it on data it never saw",
    "compare": "train methods over several seeds at equal compute, and compare them",
    "sweep": "search over options of a run, chosen on validation images",
    "evaluate": "judge a trained model again, also on new labelled images",
    "verify": "train parts of a run again and say whether it is what its config says, to the bit",
    "predict": "write a CSV of predictions for images",
    "adapt": "adapt a trained model to unlabelled images from where it will be used",
    "estimate": "say how well a run does on unlabelled images",
    "explain": "draw what a trained model looks at and how it arranges images",
    "audit": "say which columns of your data a trained model leans on",
    "report": "write a page on runs for a browser: tables, curves, confusions, images",
    "export": "write a trained model as files for use elsewhere, with a model card",
    "label-quality": "say how good automatic labels of pixels are for contrast, before anything is trained",
    "list": "show methods, pretexts, gates, losses, solvers, attacks, backbones and data scenarios",
    "doctor": "show versions, devices, extras and where data is looked for",
}

READ_A_RUN = ("adapt", "audit", "estimate", "evaluate", "explain", "export", "report", "verify")
"""Commands whose first word is a run directory: a wrong one is refused before anything slow is imported."""

_WRITE_ELSEWHERE = ("adapt", "verify")  # whatever they are told of the run, its directory stays as it is

HELP = f"""usage: auxo COMMAND [OPTIONS]

{auxo.__doc__}

commands:
{chr(10).join(f"  {name:<15}{line}" for name, line in COMMANDS.items())}

options:
  -h, --help   show this message, or a command's options after its name
  --version    show the version

first steps:
  auxo train ossl          train on the built-in digits, about a minute or two on two cores
  auxo train ossl --help   every option, with units and defaults
  auxo train ossl --data.train DIR --data.image-size 32
                           train on your own images, DIR/class_name/*.png

exit codes: 0 done, 1 an error inside a method of yours, with its traceback, some of many runs failed, or a run is not
what it says (verify), 2 bad input, 3 a loss, weight or answer is not finite, 4 nothing differs but not all could be
decided here (verify), 128 + N stopped by signal N with the state saved, as 130 and 143
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command and exit.

    Args:
        argv: words after the program's name; those of this process by default.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _run_command(words)
        sys.stdout.flush()
    except AuxoError as error:
        code = _report_error(error)
    except KeyboardInterrupt:
        fix = "start it again; a run goes on from its last checkpoint with auxo train --resume"
        code = _report_error(InterruptedRunError("the command to end", "signal 2", fix))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    except (OSError, MemoryError, RuntimeError) as error:
        code = _report_error(_describe_machine(error))
    sys.exit(code)


def _describe_machine(error: OSError | MemoryError | RuntimeError) -> AuxoError:
    """Return what the machine could not do; an error of another kind, or of the user's own code, is raised again.

    Raises:
        Exception: with its traceback, which is what helps.
    """
    if is_out_of_memory(error):
        got = next(iter(str(error).splitlines()), "none left")[:120]
        return DeviceError("enough memory", got, "use smaller batches or images, or stop other programs")
    if not isinstance(error, OSError) or is_of_user(error):
        raise error
    reason = (error.strerror or str(error) or type(error).__name__).lower()
    if error.filename is None:
        return ConfigError("what the system is asked for", reason, "check disk, memory and network")
    return ConfigError("paths that can be used", f"{reason}: {error.filename}", "check path and disk")


def _report_error(error: AuxoError) -> int:
    """Print an error on one line and return its exit code."""
    rank = os.environ.get("RANK", "0")  # may be anything: an error of its own says so
    speaker = f"auxo (process {rank})" if rank.isdecimal() and int(rank) else "auxo"
    say(f"{speaker}: {' '.join(str(error).split())}", is_error=True)
    return error.exit_code


def _run_command(words: list[str]) -> int:
    """Run the command that the first word names and return the exit code."""
    if not words or words[0] in ("-h", "--help", "help"):
        say(HELP, end="")
        return 0
    if words[0] == "--version":
        say(f"auxo {auxo.__version__}")
        return 0
    strange = next((word for word in words if "\0" in word), None)
    if strange is not None:  # no shell passes one on, and no system takes one in a name
        raise ConfigError("words without zero bytes", repr(strange), "leave it out")
    name = words[0]
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1) or list(COMMANDS)
        raise ConfigError("a command", repr(name), f"did you mean {' or '.join(near)}? (auxo --help)")
    if name == "train" and (len(words) == 1 or words[1] in ("-h", "--help")):
        say(train_usage(), end="")
        return 0
    if len(words) > 1 and not words[1].startswith("-"):
        place = Path(words[1])
        if name in READ_A_RUN or (name == "predict" and not place.exists()):  # predict takes exports, too
            require_run(place)
    importlib.import_module("auxo.cli.early").answer_early(name, words[1:])
    command = importlib.import_module(f"auxo.cli.{name.replace('-', '_')}")
    # Leave and new places hold for all that a command reads, so they are asked for here and not by each reader.
    with ExitStack() as stack:
        runs = _find_runs(name, words[1:])
        if runs or any(word.partition("=")[0] == "--moved" for word in words):
            places = importlib.import_module("auxo.cli.places")
            stack.enter_context(places.finding_places(words[1:], runs, remembers=name not in _WRITE_ELSEWHERE))
        if name in READ_A_RUN and "--hub" not in words:  # the run may be a stranger's
            stack.enter_context(importlib.import_module("auxo.data.hub").asking_hub(is_asked=False))
        return command.run(words[1:]) or 0


def _find_runs(name: str, words: list[str]) -> list[Path]:
    """Return the run directories that a command reads, as its words name them."""
    named = list(takewhile(lambda word: not word.startswith("-"), words))
    if name == "train":
        named = [word.removeprefix("--resume=") for word in words if word.startswith("--resume=")]
        named += [after for word, after in pairwise(words) if word == "--resume"]
    elif name not in (*READ_A_RUN, "predict", "label-quality"):
        return []
    return [Path(word) for word in named if (Path(word) / "config.json").is_file()]
