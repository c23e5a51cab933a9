"""Lines on the terminal about many runs."""

import time
from collections import Counter
from collections.abc import Callable, Sequence

from auxo.cli.words import say
from auxo.jobs import Outcome


class OutcomePrinter:
    """Prints a line for every run that ends, with the time that the others will take.

    Args:
        total: number of runs, or ``None`` if it is not known.
        describe: returns what is to be told of a run that is finished, such as a measure of it.
    """

    def __init__(self, total: int | None, describe: Callable[[Outcome], str] = lambda _outcome: "") -> None:
        self._total = total
        self._describe = describe
        self._counts: Counter[str] = Counter()
        self._started = time.monotonic()

    def __call__(self, outcome: Outcome) -> None:
        """Print the line of a run that ended."""
        self._counts[outcome.status] += 1
        done = sum(self._counts.values())
        number = f"[{done}/{self._total}]" if self._total is not None else f"[{done}]"
        said = [number, outcome.status, outcome.job.name]
        if outcome.status == "failed":
            say(" ".join(said) + f": {outcome.error}", flush=True)
            return
        said.append(self._describe(outcome))
        if outcome.status == "finished":
            said.append(spoken_time(outcome.seconds))
            said.append(self._estimate_rest(done))
        say(" ".join(word for word in said if word), flush=True)

    def _estimate_rest(self, done: int) -> str:
        """Return about how long the rest will take, at the pace up to now."""
        made = done - self._counts["reused"]
        left = 0 if self._total is None else self._total - done
        return f"(about {spoken_time((time.monotonic() - self._started) * left / made)} left)" if left else ""


def print_failures(outcomes: Sequence[Outcome]) -> bool:
    """Print the runs that failed, each with its log, and return whether there are any."""
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    for outcome in failed:
        where = f"; see {outcome.job.log}" if outcome.job.log.exists() else ""
        say(f"failed: {outcome.job.name}: {outcome.error}{where}")
    return bool(failed)


def spoken_time(seconds: float) -> str:
    """Return a length of time in words.

    Example:
        >>> [spoken_time(seconds) for seconds in (41.2, 150.0, 7300.0)]
        ['41 s', '2 min 30 s', '2 h 1 min']
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
