"""Arrays on the mesh, and a thread that works ahead, ends, and hands its errors on."""

import itertools
import signal
import subprocess
import sys
import threading
import time

import jax
import numpy as np
import pytest
from jax.sharding import AxisType

from jaxhands.data import feed
from jaxhands.train import ending


@pytest.fixture(scope="module")
def mesh():
  return jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))


def batch_of(step, size=8):
  return {
    "example_id": np.arange(size, dtype=np.int32) + size * step,
    "image": np.full((size, 2, 2, 3), step, np.uint8),
  }


def feeding():
  return [thread for thread in threading.enumerate() if thread.name == "jaxhands-feed"]


def test_batches_are_divided_among_the_devices_in_order(mesh):
  batches = list(feed.to_mesh(lambda: map(batch_of, range(3)), mesh))
  assert len(batches) == 3
  for step, batch in enumerate(batches):
    np.testing.assert_array_equal(batch["example_id"], batch_of(step)["example_id"])
    shards = sorted(batch["image"].addressable_shards, key=lambda shard: shard.index[0].start or 0)
    assert [shard.data.shape for shard in shards] == [(2, 2, 2, 3)] * 4


def test_a_batch_that_does_not_divide_is_named(mesh):
  with pytest.raises(ValueError, match=r"6 examples.*4 devices"):
    feed.put(batch_of(0, size=6), mesh)


def test_it_stays_ahead_but_not_far():
  made = []
  items = feed.ahead(lambda: (made.append(i) or i for i in itertools.count()), steps=2)
  assert next(items) == 0
  deadline = time.monotonic() + 5
  while len(made) < 4 and time.monotonic() < deadline:
    time.sleep(0.01)
  time.sleep(0.05)
  assert made == [0, 1, 2, 3]  # one given, two waiting, one in hand
  items.close()
  assert not feeding()


def test_dropping_the_iterator_ends_the_thread():
  items = feed.ahead(itertools.count)
  assert next(items) == 0
  assert len(feeding()) == 1
  del items
  assert not feeding()


def test_an_error_is_raised_where_its_item_is_asked_for():
  def broken():
    yield 1
    raise OSError("shard 3 is gone")

  items = feed.ahead(broken)
  assert next(items) == 1
  with pytest.raises(OSError, match="shard 3"):
    next(items)
  assert not feeding()


def test_processes_of_the_thread_do_not_end_at_a_signal_to_all():
  numbers = [int(number) for number in ending.SIGNALS]
  code = f"import os; [os.kill(os.getpid(), number) for number in {numbers}]; print('lives')"

  def items():
    yield subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stdout

  assert list(feed.ahead(items)) == ["lives\n"]
  assert not {*ending.SIGNALS} & signal.pthread_sigmask(signal.SIG_BLOCK, ())
