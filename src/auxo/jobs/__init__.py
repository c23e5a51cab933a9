"""Many runs: several at a time, on one machine or a cluster, each made once."""

from auxo.jobs.execution import AbstractExecutor, run_jobs
from auxo.jobs.job import Job, Outcome, check_jobs, is_finished
from auxo.jobs.processes import LocalProcesses
from auxo.jobs.ray_cluster import RayCluster

__all__ = [
    "AbstractExecutor",
    "Job",
    "LocalProcesses",
    "Outcome",
    "RayCluster",
    "check_jobs",
    "is_finished",
    "run_jobs",
]
