"""Tasks that need each other, a few at once, each on its share of the cores."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import os
from collections.abc import Callable, Sequence

Cores = frozenset[int]


@dataclasses.dataclass(frozen=True)
class Task:
  """Something to do.

  Attributes:
    name: of this task; no other one has it.
    needs: names of the tasks that must be done before.
    do: does it, on these cores (empty = any), and returns whether it succeeded.
  """

  name: str
  needs: frozenset[str]
  do: Callable[[Cores], bool]


def shares(at_once: int) -> list[Cores]:
  """The machine's cores, dealt out; tasks on a core each get more done together than each on all of them."""
  cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
  return [frozenset(cores[index::at_once] or cores) for index in range(at_once)]


def run(tasks: Sequence[Task], at_once: int, stop: Callable[[], None] = lambda: None) -> list[str]:
  """Does all tasks, the first of those that can begin first; begins none after one has failed.

  Args:
    tasks: in order of preference.
    at_once: so many at a time.
    stop: called when this is interrupted; what runs should end then, for that is waited for.
  Returns:
    What failed, each with its reason if it raised; the tasks that did not begin are not named.
  Raises:
    ValueError: `at_once` is less than 1, two tasks have one name, or a task needs one that there is not.
  """
  if at_once < 1:
    raise ValueError(f"at_once is {at_once}, expected at least 1")
  names = [task.name for task in tasks]
  if len(set(names)) < len(names):
    raise ValueError(f"tasks with the same name: {sorted({name for name in names if names.count(name) > 1})}")
  if unknown := sorted(set().union(*(task.needs for task in tasks)) - set(names)):
    raise ValueError(f"there is no task {unknown[0]!r}, which another one needs")
  with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
    try:
      return _run(tasks, shares(at_once), pool)
    except BaseException:
      stop()
      raise


def _run(tasks: Sequence[Task], free: list[Cores], pool: concurrent.futures.Executor) -> list[str]:
  waiting, done, failed = list(tasks), set[str](), list[str]()
  running: dict[concurrent.futures.Future[bool], tuple[Task, Cores]] = {}
  while True:
    for task in [task for task in waiting if task.needs <= done and not failed]:
      if free:
        share = free.pop(0)
        running[pool.submit(task.do, share)] = task, share
        waiting.remove(task)
    if not running:
      return failed
    finished, _ = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
    for future in finished:
      task, share = running.pop(future)
      free.append(share)
      error = future.exception()
      if error is None and future.result():
        done.add(task.name)
      else:
        failed.append(task.name + (f": {error}" if error else ""))
