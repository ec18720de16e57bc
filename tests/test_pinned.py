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
    if one in contract.TINY:
      steps[f"{variant} {contract._label(name, stage)}"] = system
  expected = {f"{step} predict" for step in steps}
  expected |= {f"{step} train" for step, system in steps.items() if system.objectives}
  assert pinned.keys() == expected


def test_a_changed_figure_is_refused(tmp_path, monkeypatch):
  path = tmp_path / "figures.json"
  path.write_text(json.dumps({"a train": {"flops": 100, "bytes": 1000}, "processor": "2 x fast"}))
  monkeypatch.setattr(pinned, "FILE", path)
  monkeypatch.delenv("JAXHANDS_WRITE_PINNED", raising=False)
  monkeypatch.setattr(pinned, "processor", lambda: "2 x fast")
  pinned.check("a train", flops=lambda: 100, bytes=lambda: 1009)
  with pytest.raises(AssertionError, match=r"flops of a train was 100 and is 101; if that is meant: python -m"):
    pinned.check("a train", flops=lambda: 101)
  with pytest.raises(AssertionError, match="bytes of a train was 1000 and is 989"):
    pinned.check("a train", bytes=lambda: 989)
  with pytest.raises(AssertionError, match="b train has no figures"):
    pinned.check("b train", flops=lambda: 1)
  monkeypatch.setattr(pinned, "processor", lambda: "4 x slow")
  pinned.check("a train", flops=lambda: 100, bytes=lambda: 2000)
  with pytest.raises(AssertionError, match="flops of a train"):
    pinned.check("a train", flops=lambda: 101)


def test_figures_are_written_one_beside_the_other(tmp_path, monkeypatch):
  path = tmp_path / "figures.json"
  monkeypatch.setattr(pinned, "FILE", path)
  monkeypatch.setenv("JAXHANDS_WRITE_PINNED", "1")
  pinned.check("b train", flops=lambda: 2)
  pinned.check("a train", flops=lambda: 1)
  pinned.check("b train", flops=lambda: 3)
  assert json.loads(path.read_text()) == {
    "a train": {"flops": 1}, "b train": {"flops": 3}, "processor": pinned.processor()
  }  # fmt: skip
  assert pinned.keys() == {"a train", "b train"}
