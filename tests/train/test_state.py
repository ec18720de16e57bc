"""Paths, and who owns what."""

import numpy as np
import pytest

from jaxhands.systems import base
from jaxhands.train import state

TREE = {
  "params": {"neck": {"w": 1, "b": 2}, "head": {"w": 3}},
  "batch_stats": {"neck": {"mean": 4}},
  "constants": {"offset": 5},
}


def _objective(name, trains, owns=()):
  def fn(variables, batch, rng):
    raise AssertionError("not called")

  return base.Objective(name, trains, owns, fn=fn)


def test_keep_and_merge_are_inverse():
  part = state.keep(TREE, {"params/neck/b", "batch_stats/neck/mean"})
  assert part == {"params": {"neck": {"b": 2}}, "batch_stats": {"neck": {"mean": 4}}}
  changed = state.merge(TREE, {"params": {"neck": {"b": 7}}})
  assert changed["params"] == {"neck": {"w": 1, "b": 7}, "head": {"w": 3}}
  assert state.merge(changed, part) == TREE
  assert TREE["params"]["neck"]["b"] == 2


def test_merge_adds_nothing_new():
  with pytest.raises(KeyError, match="tail"):
    state.merge(TREE, {"params": {"tail": {"w": 1}}})


def test_under_respects_whole_names():
  assert state.under("params/neck/w", ["params/neck"])
  assert state.under("params/neck", ["params/neck"])
  assert not state.under("params/necklace/w", ["params/neck"])


def test_shares():
  found = state.shares([_objective("pose", ("neck", "head"), ("batch_stats",))], TREE)
  assert found["pose"].trained == {"params/neck/w", "params/neck/b", "params/head/w"}
  assert found["pose"].owned == {"batch_stats/neck/mean"}


def test_frozen_subtrees_leave_all_collections():
  found = state.shares([_objective("pose", ("neck", "head"), ("batch_stats",))], TREE, freeze=("neck",))
  assert found["pose"].paths == {"params/head/w"}
  found = state.shares([_objective("pose", ("neck", "head"), ("batch_stats",))], TREE, freeze=("neck/w",))
  assert found["pose"].trained == {"params/neck/b", "params/head/w"}


@pytest.mark.parametrize(
  ("objectives", "freeze", "message"),
  [
    (
      [_objective("a", ("neck",)), _objective("b", ("neck", "head"))],
      (),
      "'params/neck/b' has two owners, 'a' and 'b'",
    ),
    (
      [_objective("a", ("neck",), ("batch_stats",)), _objective("b", ("head",), ("batch_stats/neck",))],
      (),
      "batch_stats/neck/mean",
    ),
    ([_objective("a", ("neck",)), _objective("a", ("head",))], (), "two objectives are called 'a'"),
    ([_objective("a", ("nek",))], (), "trains 'params/nek'.*did you mean 'neck'"),
    ([_objective("a", ("neck", "head"), ("spectral",))], (), "owns 'spectral'"),
    ([_objective("a", ("neck", "head"))], (), "no objective changes 'batch_stats/neck/mean'"),
    ([_objective("a", ("neck",), ("batch_stats",))], (), "no objective changes 'params/head/w'"),
    ([_objective("a", ("neck", "head"), ("batch_stats",))], ("neckk",), "freeze.*did you mean 'neck'"),
  ],
)
def test_wrong_shares_are_refused(objectives, freeze, message):
  with pytest.raises(ValueError, match=message):
    state.shares(objectives, TREE, freeze)


def test_leaves_are_named_by_path():
  tree = {"params": {"a": np.zeros(2)}}
  assert list(state.leaves(tree)) == ["params/a"]
