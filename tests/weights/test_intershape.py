"""Intershape's released weights without MANO."""

import numpy as np
import pytest

from jaxhands.systems import intershape as module
from jaxhands.weights.intershape import warn_without_mano
from tests.systems.small_intershape import small


@pytest.mark.parametrize("release", ["v1", "v2"])
def test_a_release_without_mano_is_told_so(release, monkeypatch, caplog):
  monkeypatch.setattr(module, "convert", lambda *_: {})
  monkeypatch.setattr(module, "check_shapes", lambda *_: {})
  keys = ["conv1.weight"] + ["bn1.weight"] * (release == "v2")
  small(release=release).import_weights({f"mesh_reg.base_net.{key}": np.zeros(1) for key in keys})
  (record,) = caplog.records
  assert record.levelname == "WARNING"
  assert f"release {release} estimates MANO's parameters" in record.message
  assert "give --hand-model MANO_DIR" in record.message
  caplog.clear()
  warn_without_mano(release, "MANO-0123456789abcdef")
  assert not caplog.records
