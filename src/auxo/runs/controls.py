"""Recipes that are the control of a method: the same but for the method's own idea."""

from collections.abc import Callable

from auxo.runs.experiment import ExperimentConfig

_MARK = "_auxo_controls"
_Recipe = Callable[[], ExperimentConfig]


def control_of(method: str) -> Callable[[_Recipe], _Recipe]:
    """Return a decorator by which a recipe says which method it is a control of.

    A comparison that has both declares the contrast of the method with it.

    Args:
        method: as tables call it: the name of a method, the name of a user's file without ``.py``, or
            ``NAME-FUNCTION`` for another function in it.

    Example:
        >>> @control_of("gssl")
        ... def without_pretexts() -> ExperimentConfig: ...
        >>> read_control(without_pretexts)
        'gssl'
    """

    def mark(recipe: _Recipe) -> _Recipe:
        vars(recipe)[_MARK] = method
        return recipe

    return mark


def read_control(recipe: object) -> str | None:
    """Return the method that a recipe says it is a control of, or ``None``."""
    return getattr(recipe, _MARK, None)
