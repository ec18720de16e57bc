"""There are figures of this version of JAX, of all steps that are there and of no others."""

import json

import pytest

from tests import pinned
from tests.contract import test_systems as contract


def test_the_file_has_the_figures_of_every_step():
  if not pinned.FILE.is_file():
    pytest.skip(f"nobody has written figures of JAX {pinned.VERSION} yet: python -m tests.pinned")
  steps = {}
  for one in contract.STAGES:
    name, variant, stage = one.values
    system = contract._system(name, variant, stage)[1]
    if paper := contract.paper_name(name, variant, stage):
      steps[f"paper {paper}"] = system
    if contract.has_pinned(name, variant, stage):
      steps[f"tiny {contract._label(name, stage)}"] = system
  expected = {f"{step} predict" for step in steps}
  expected |= {f"{step} train" for step, system in steps.items() if system.objectives}
  assert pinned.keys() == expected


def test_a_changed_figure_is_refused(tmp_path, monkeypatch):
  path = tmp_path / "figures.json"
  figures = {"a train": {"operations": 100}, "a tiny train": {"bytes": 1000}, "processor": "2 x fast"}
  path.write_text(json.dumps(figures))
  monkeypatch.setattr(pinned, "FILE", path)
  monkeypatch.delenv("JAXHANDS_WRITE_PINNED", raising=False)
  monkeypatch.setattr(pinned, "processor", lambda: "2 x fast")

  def check(key, compiled=False, **found):
    pinned.check(key, lambda: found, compiled)

  check("a train", operations=100)
  check("a tiny train", bytes=1009, compiled=True)
  with pytest.raises(AssertionError, match=r"operations of a train: 100 before, 101 now; if that is meant: python -m"):
    check("a train", operations=101)
  with pytest.raises(AssertionError, match="bytes of a tiny train: 1000 before, 989 now"):
    check("a tiny train", bytes=989, compiled=True)
  with pytest.raises(AssertionError, match="b train has no figures"):
    check("b train", operations=1)
  monkeypatch.setattr(pinned, "processor", lambda: "4 x slow")
  check("a tiny train", bytes=2000, compiled=True)
  with pytest.raises(AssertionError, match="operations of a train"):
    check("a train", operations=101)


def test_figures_are_written_one_beside_the_other(tmp_path, monkeypatch):
  path = tmp_path / "figures.json"
  monkeypatch.setattr(pinned, "FILE", path)
  monkeypatch.setenv("JAXHANDS_WRITE_PINNED", "1")
  pinned.check("b train", lambda: {"operations": 2})
  pinned.check("a train", lambda: {"operations": 1})
  pinned.check("b train", lambda: {"operations": 3})
  assert json.loads(path.read_text()) == {
    "a train": {"operations": 1}, "b train": {"operations": 3}, "processor": pinned.processor()
  }  # fmt: skip
  assert pinned.keys() == {"a train", "b train"}
