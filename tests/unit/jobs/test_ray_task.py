"""What a machine of a cluster does, on this one; and what is refused without a cluster."""

import socket
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from auxo.backbones import BackboneConfig
from auxo.errors import ConfigError, DeviceError, OutputError
from auxo.jobs import RayCluster, is_finished, run_jobs
from auxo.jobs.parcel import pack_folder, unpack_folder
from auxo.jobs.ray_task import make_order, work

NET = (Path(__file__).parents[2] / "outside" / "net.py").read_text()


def test_work__folder_not_visible_and_a_file_that_is_not_there__trains_elsewhere_and_returns_the_files(
    make_job, failing
):
    job = make_job(f"{failing}:work", name="mine")
    job.folder.parent.mkdir(parents=True)
    order = make_order(job, token="token", files=None, threads=1)
    failing.unlink()  # as on another machine
    answer = work(order)
    assert answer["reason"] == ""
    assert not job.folder.exists()
    unpack_folder(answer["files"], job.folder)
    assert is_finished(job.folder)
    assert (job.folder / "config.json").read_text() == order["document"]
    assert "epoch 1" in job.log.read_text()


def test_work__another_version_or_another_text__refused_in_one_line(make_job, failing):
    job = make_job(f"{failing}:work", name="mine")
    order = make_order(job, token="token", files=None, threads=1)
    answer = work({**order, "version": "9.9"})
    assert "expected auxo 9.9 on every machine" in answer["reason"]
    answer = work({**order, "code": {str(failing): "other"}})
    assert "one text of" in answer["reason"]
    assert answer["files"] is None


def test_work__two_files_of_one_name_that_are_not_there__are_not_mixed_up(make_job, failing, tmp_path):
    backbone = tmp_path / "net" / failing.name
    backbone.parent.mkdir()
    backbone.write_text(NET)
    job = make_job(f"{failing}:work", name="mine")
    job = replace(job, config=replace(job.config, backbone=BackboneConfig(name=f"{backbone}:TinyNet")))
    order = make_order(job, token="token", files=None, threads=1)
    assert order["code"] == {str(path): path.read_text() for path in (failing, backbone)}
    failing.unlink()  # as on another machine
    backbone.unlink()
    answer = work(order)
    assert answer["reason"] == ""
    unpack_folder(answer["files"], job.folder)
    assert is_finished(job.folder)


def test_unpack_folder__over_an_older_one__replaces_it_wholly(tmp_path):
    new, place = tmp_path / "new", tmp_path / "place"
    for folder, name in ((new, "a/b.txt"), (place, "old.txt")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    (new / ".lock").write_text("")
    unpack_folder(pack_folder(new), place)
    assert {path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file()} == {"a/b.txt"}
    assert {path.name for path in tmp_path.iterdir()} == {"new", "place"}


def test_unpack_folder__place_cannot_be_written__one_line_and_nothing_changed(tmp_path):
    (tmp_path / "new").mkdir()
    (tmp_path / "file").write_text("")
    packed = pack_folder(tmp_path / "new")
    with pytest.raises(OutputError, match="to write"):
        unpack_folder(packed, tmp_path / "file" / "run")


def test_ray_cluster__ray_is_missing__names_the_extra(monkeypatch, make_job):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install 'auxo\[ray\]'"):
        RayCluster().check()
    with pytest.raises(ConfigError, match="the package ray"):
        run_jobs([make_job()], executor=RayCluster())


@pytest.mark.parametrize("options", [{"cpus": 0}, {"gpus": -1.0}, {"gpus": float("nan")}, {"address": ""}])
def test_ray_cluster__bad_options__refused(options):
    with pytest.raises(ConfigError, match="expected"):
        RayCluster(**options)


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_ray_cluster__nothing_listens__refused_at_once(scheme):
    pytest.importorskip("ray")
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # taken, and not listened at
        port = bound.getsockname()[1]
        with pytest.raises(DeviceError, match="nothing that answers there"):
            RayCluster(address=f"{scheme}127.0.0.1:{port}").check()
