"""Which task, as an option."""

from dataclasses import dataclass
from inspect import isabstract

from auxo import registry
from auxo.errors import ConfigError
from auxo.registry.outside import absolute_name, is_outside, load_outside
from auxo.tasks._interface import AbstractTask


@dataclass(frozen=True, kw_only=True)
class TaskConfig:
    """What is to be predicted."""

    name: str = "classification"
    """A task of auxo, or one of your own: ``file.py:Name``, a subclass of AbstractTask."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", absolute_name(self.name))
        if not is_outside(self.name):
            self.kind()  # refuses an unknown name at once

    def kind(self) -> type[AbstractTask]:
        """Return the class of the task.

        Raises:
            ConfigError: there is no such task, or its file does not run.
        """
        if is_outside(self.name):
            kind = load_outside(self.name, AbstractTask)
            if isabstract(kind):
                lacks = ", ".join(sorted(kind.__abstractmethods__))
                raise ConfigError(f"a whole task called {self.name}", f"one without {lacks}", "define them there")
            return kind
        module = registry.load("tasks", self.name)
        kinds = (
            item for item in vars(module).values() if isinstance(item, type) and item.__module__ == module.__name__
        )
        return next(kind for kind in kinds if issubclass(kind, AbstractTask))
