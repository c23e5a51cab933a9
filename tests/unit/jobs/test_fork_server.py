"""Runs in processes that are forked with everything imported."""

import json
import os
import signal
from contextlib import closing
from dataclasses import replace

import pytest

from auxo.jobs import LocalProcesses, fork_server, run_jobs
from auxo.jobs.fork_server import ForkServer, can_fork
from auxo.jobs.supervision import make_environment

pytestmark = pytest.mark.skipif(not can_fork(), reason="this system does not fork processes")


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log.txt"


@pytest.fixture
def server():
    with closing(ForkServer(make_environment(2))) as server:
        yield server


def test_start_process__no_request__its_end_and_its_output_are_its_own(server, log, tmp_path):
    first = server.start_process(log)
    second = server.start_process(tmp_path / "other.txt")
    first.stdin.close()
    assert first.wait() == 1
    assert "JSONDecodeError" in log.read_text()
    assert second.poll() is None
    second.kill()
    assert second.wait() == -signal.SIGKILL
    second.stdin.close()
    assert (tmp_path / "other.txt").read_text() == ""


def test_start_process__server_that_was_killed__its_processes_go_and_a_new_one_serves(server, log):
    lost = server.start_process(log)
    lost.send_signal(signal.SIGCONT)  # waits until it is there
    os.kill(server.number, signal.SIGKILL)
    assert lost.wait() == -signal.SIGKILL
    lost.stdin.close()
    again = server.start_process(log)
    again.stdin.close()
    assert again.wait() == 1


def test_run_jobs__forked_with_two_threads__equal_to_processes_of_their_own(make_job, tmp_path, monkeypatch):
    forked = make_job(folder=tmp_path / "forked")
    own = replace(forked, folder=tmp_path / "own")
    executor = LocalProcesses(processes=1, threads=2)
    (outcome,) = run_jobs([forked], executor=executor)
    assert outcome.status == "finished", outcome.error
    monkeypatch.setattr(fork_server, "can_fork", lambda: False)
    (outcome,) = run_jobs([own], executor=executor)
    assert outcome.status == "finished", outcome.error
    models = [(job.folder / "model.safetensors").read_bytes() for job in (forked, own)]
    assert models[0] == models[1]


@pytest.mark.slow
def test_run_jobs__forked_run_that_dies__the_others_finish(make_job, failing):
    jobs = [make_job(f"{failing}:kill", name="dies"), make_job("supervised", name="good")]
    outcomes = run_jobs(jobs, executor=LocalProcesses(processes=1, threads=2))
    assert [outcome.status for outcome in outcomes] == ["failed", "finished"]
    assert json.loads((jobs[1].folder / "config.json").read_text())
