"""Bad input without end: ``make fuzz`` spoils what auxo reads and the words of its commands until it is stopped.

It draws from what the tests of bad input draw from, by other seeds. A failure is printed with the line that repeats it,
and the exit code is then 1.
"""

import argparse
import faulthandler
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

from .inputs import EXPORTS, INPUTS
from .spoil import complaint_of
from .words import BASES, is_refusal, read_contents, read_options, run_command, spoil_line
from .world import add_exports, build_world, write_shapes

EVERYTHING = {**INPUTS, **EXPORTS}


class Fuzz:
    """Inputs and commands in a folder of their own.

    Args:
        root: an empty folder, which becomes the current one.
    """

    def __init__(self, root):
        self.root, self.world, self.place = root, root / "world", root / "place"
        self._options = {}
        self.world.mkdir()
        os.chdir(root)
        shapes = write_shapes(root / "shapes")
        words = ["--epochs", "1", "--batch-size", "8", "--training.no-tensorboard", "--runtime.threads", "1"]
        said = run_command(["train", "ossl", "--data.train", shapes, *words, "--out", "run"])
        assert said.code == 0, said.err
        build_world(self.world, root / "run")
        add_exports(self.world)
        shutil.rmtree(shapes)  # so that no command gets far
        self.place.mkdir()
        shutil.move(root / "run", self.place / "run")
        (self.place / "file").write_text("a file")
        os.chdir(self.place)

    def try_input(self, name, seed):
        """Return what is wrong with how a spoiled input is read; nothing where all is well."""
        copy = self.root / "input"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.world / EVERYTHING[name].source, copy)
        EVERYTHING[name].spoil(copy, random.Random(f"{name} {seed}"))
        try:
            said = complaint_of(EVERYTHING[name].read, copy)
        except Exception:  # noqa: BLE001  (whatever it is, it is told, and the next one is tried)
            return traceback.format_exc()
        return "" if len(said) < 2000 else f"a message of {len(said)} characters"

    def try_command(self, name, seed):
        """Return what is wrong with how a command refuses wrong words; nothing where all is well."""
        if name not in self._options:
            self._options[name] = read_options(name)
        line = spoil_line(name, self._options[name], random.Random(f"{name} {seed}"))
        before = read_contents(self.place)
        try:
            code, _, said = run_command(line.words)
        except Exception:  # noqa: BLE001  (likewise)
            return f"{line.words}\n{traceback.format_exc()}"
        if not is_refusal(line, code, said):
            return f"{line.words}: exit code {code}\n{said}"
        return "" if read_contents(self.place) == before else f"{line.words}: files changed"


def main():
    """Try inputs and commands in turn, until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after so many; default never")
    parser.add_argument("--seed", type=int, default=None, help="where to begin; default drawn")
    parser.add_argument("--only", default=None, help="one input or command, by name")
    parser.add_argument("--rounds", type=int, default=None, help="so many draws of each; default without end")
    asked = parser.parse_args()
    names = [*EVERYTHING, *BASES]
    if asked.only is not None and asked.only not in names:
        parser.error(f"expected --only {', '.join(names)}, got {asked.only}")
    warnings.simplefilter("error")  # a warning would be a second line
    faulthandler.enable()
    os.environ["HF_HUB_OFFLINE"] = "1"
    first = random.SystemRandom().randrange(2**31) if asked.seed is None else asked.seed
    seed, failures, tried = first, 0, 0
    with tempfile.TemporaryDirectory(prefix="auxo-fuzz-") as place:
        os.environ["HF_DATASETS_CACHE"] = str(Path(place) / "cache")
        fuzz = Fuzz(Path(place).resolve())
        end = time.monotonic() + 60 * asked.minutes  # a program that is asked for minutes: no test waits by this clock
        while time.monotonic() < end and (asked.rounds is None or seed < first + asked.rounds):
            for name in names if asked.only is None else [asked.only]:
                print(
                    f"\r{tried} tried, {failures} failed: {name} {seed}   ", end="", flush=True
                )  # stays if it crashes
                problem = fuzz.try_input(name, seed) if name in EVERYTHING else fuzz.try_command(name, seed)
                tried += 1
                if problem:
                    failures += 1
                    print(f"\n{problem}\nrepeat it: make fuzz ONLY='{name}' SEED={seed} ROUNDS=1", flush=True)
            seed += 1
        os.chdir("/")
    print(f"\n{tried} tried, {failures} failed, seeds {first} to {seed - 1}")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
