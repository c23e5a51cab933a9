"""Runs in processes that may do what they want."""

import json
from dataclasses import replace

import pytest

from auxo.errors import ConfigError
from auxo.jobs import LocalProcesses, is_finished, run_jobs


def files_of(folder):
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_run_jobs__some_raise_die_and_leave__listed_and_the_others_finish(make_job, failing):
    jobs = [
        make_job(failing, name="raises"),
        make_job(f"{failing}:kill", name="dies"),
        make_job("supervised", name="good"),
    ]
    seen = []
    outcomes = run_jobs(jobs, executor=LocalProcesses(processes=2), on_outcome=seen.append)
    assert [outcome.job for outcome in outcomes] == jobs
    assert sorted(seen, key=jobs_order(jobs)) == outcomes
    assert [outcome.status for outcome in outcomes] == ["failed", "failed", "finished"]
    assert outcomes[0].error == "TypeError: no such thing in this file (failing.py, line 21)"
    assert "Traceback" in jobs[0].log.read_text()
    assert outcomes[1].error == "its process was ended by SIGKILL, perhaps for want of memory"
    assert is_finished(jobs[2].folder)
    assert outcomes[2].seconds > 0

    before = files_of(jobs[2].folder)
    (again,) = run_jobs(jobs[2:], executor=LocalProcesses())
    assert (again.status, again.seconds, again.error) == ("reused", 0.0, None)
    assert files_of(jobs[2].folder) == before


def jobs_order(jobs):
    return lambda outcome: jobs.index(outcome.job)


@pytest.mark.slow
def test_run_jobs__method_in_a_file_and_edited_after__refused(make_job, failing):
    job = make_job(f"{failing}:work", name="mine")
    (outcome,) = run_jobs([job], executor=LocalProcesses(processes=1, threads=1))
    assert outcome.status == "finished", outcome.error
    assert json.loads((job.folder / "config.json").read_text())["run"]["stages"][0]["method"]["how"] == "work"
    failing.write_text(failing.read_text() + "\n# other\n")
    with pytest.raises(ConfigError, match="one of an earlier text of such a file"):
        run_jobs([job], executor=LocalProcesses())


def test_run_jobs__data_that_is_not_there__failed_in_one_line(make_job):
    job = make_job()
    lost = replace(job, config=replace(job.config, data=replace(job.config.data, train="nowhere-at-all")))
    (outcome,) = run_jobs([lost], executor=LocalProcesses(processes=1))
    assert outcome.status == "failed"
    assert "nowhere-at-all" in outcome.error
    assert "\n" not in outcome.error


@pytest.mark.parametrize("options", [{"processes": 0}, {"threads": 0}])
def test_local_processes__none__refused(options):
    with pytest.raises(ConfigError, match=">= 1"):
        LocalProcesses(**options)
