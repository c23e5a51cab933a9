"""Options of commands that make many runs: where they are made."""

from dataclasses import dataclass
from typing import Annotated

from auxo.errors import ConfigError
from auxo.jobs import AbstractExecutor, LocalProcesses, RayCluster
from auxo.options import Options, Range


@dataclass(frozen=True, kw_only=True)
class ExecutorOptions(Options):
    """Where runs are made; commands share these under their bare names."""

    processes: Annotated[int | None, Range(low=1, high=1024)] = None
    """Runs at a time on this machine; default one for every core, or one where there is a GPU."""
    threads: Annotated[int | None, Range(low=1, high=1024)] = None
    """CPU threads of a run; default cores over processes, and 1 on a cluster."""
    ray: str | None = None
    """Make the runs over a Ray cluster: auto, local (started for this), host:port or ray://host:port."""
    gpus_per_run: Annotated[float, Range(low=0)] = 0.0
    """GPUs that a run takes of a Ray cluster; 0.5 lets two share one."""

    def build(self) -> AbstractExecutor:
        """Return what makes the runs.

        Raises:
            ConfigError: options that do not go together, or are out of range.
        """
        if self.ray is None:
            if self.gpus_per_run:
                fix = "leave it out; runs on this machine see its GPUs"
                raise ConfigError("--gpus-per-run with --ray", "no --ray", fix)
            return LocalProcesses(processes=self.processes, threads=self.threads)
        if self.processes is not None:
            fix = "leave it out: the cluster makes as many runs at a time as it has cores for"
            raise ConfigError("no --processes with --ray", str(self.processes), fix)
        return RayCluster(address=self.ray, cpus=1 if self.threads is None else self.threads, gpus=self.gpus_per_run)
