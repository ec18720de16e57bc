"""Order, sharing and failing of tasks, and which stages the runs of HDR's tables have alike."""

import threading

import pytest

from benchmarks import hdr_tables, schedule
from benchmarks.schedule import Task


def task(name, needs=(), do=lambda cores: True):
  return Task(name, frozenset(needs), do)


def test_tasks_follow_what_they_need_and_the_first_come_first():
  order = []

  def noted(name, needs=()):
    return task(name, needs, lambda cores: order.append(name) or True)

  assert schedule.run([noted("last", {"b", "c"}), noted("b", {"a"}), noted("a"), noted("c")], 1) == []
  assert order == ["a", "b", "c", "last"]


def test_so_many_are_done_at_once_each_on_other_cores():
  together, seen = threading.Barrier(2, timeout=10), []

  def do(cores):
    seen.append(cores)
    together.wait()
    return True

  assert schedule.run([task("a", do=do), task("b", do=do)], 2) == []
  one, other = schedule.shares(2)
  assert set(seen) == {one, other}
  assert len(one) <= 1 or not one & other


def test_none_begins_after_one_has_failed():
  def breaks(cores):
    raise OSError("no space")

  begun = []
  later = [task("waits", {"breaks"}), task("other", do=lambda cores: begun.append("other") or True)]
  assert schedule.run([task("breaks", do=breaks), *later], 1) == ["breaks: no space"]
  assert begun == []
  assert schedule.run([task("says so", do=lambda cores: False)], 1) == ["says so"]


def test_whoever_is_interrupted_stops_what_runs():
  stopped = threading.Event()

  class Interrupted(BaseException):
    pass

  class Needs(frozenset):
    """Looked at a second time, while the first task runs, it interrupts."""

    looks = 0

    def __le__(self, other):
      Needs.looks += 1
      if Needs.looks > 1:
        raise Interrupted
      return False

  first = task("first")
  long = task("long", do=lambda cores: stopped.wait(10))
  with pytest.raises(Interrupted):
    schedule.run([first, long, Task("never", Needs(), lambda cores: True)], 2, stopped.set)
  assert stopped.is_set()


@pytest.mark.parametrize(
  ("tasks", "at_once", "message"),
  [
    ([task("a")], 0, "at_once is 0"),
    ([task("a"), task("a")], 1, r"same name: \['a'\]"),
    ([task("a", {"b"})], 1, "no task 'b'"),
  ],
)
def test_what_cannot_be_done_is_refused(tasks, at_once, message):
  with pytest.raises(ValueError, match=message):
    schedule.run(tasks, at_once)


def test_runs_share_the_stages_that_they_have_alike(tmp_path):
  jobs = hdr_tables.jobs(tuple(hdr_tables.RUNS), "small", 0, tmp_path)
  owners = {
    hdr_tables.RUNS[job.what]: {stage: hdr_tables.RUNS[hdr_tables.owner(job, stage, jobs).what] for stage in job.stages}
    for job in jobs
  }
  alike = dict.fromkeys(("hasm", "hdrm", "hdrm_finetune", "shpe"), "")
  assert owners[""] == alike | {"pipeline": ""}
  assert owners["with_aih"] == alike | {"shpe": "with_aih", "pipeline": "with_aih"}
  for variant in ("no_discriminator", "no_transformer", "render_only", "syn_only"):
    assert owners[variant] == {"hasm": "", "shpe": ""} | dict.fromkeys(("hdrm", "hdrm_finetune", "pipeline"), variant)
  other = hdr_tables.jobs(("HDR",), "small", 1, tmp_path)
  assert hdr_tables.owner(other[0], "hasm", (*jobs, *other)) == other[0]


def test_a_size_without_the_run_is_refused(tmp_path):
  with pytest.raises(ValueError, match="with_aih"):
    hdr_tables.jobs(tuple(hdr_tables.RUNS), "demo", 0, tmp_path)


def test_a_stage_of_another_config_is_not_taken_for_done(tmp_path):
  (job,) = hdr_tables.jobs(("HDR",), "small", 0, tmp_path)
  assert not job.is_done("hasm")
  config = job.stages["hasm"]
  config.train_for = "9 steps"
  hdr_tables.checkpoint.write_config(job.folder("hasm"), config)
  with pytest.raises(ValueError, match="is of another config"):
    job.is_done("hasm")
