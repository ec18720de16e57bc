"""A trained system, from the folder of a run, weights that come with the package, or a file that authors released."""

from __future__ import annotations

import pathlib

from jaxhands.paths import expanded
from jaxhands.prediction import predictor
from jaxhands.runs import released
from jaxhands.train import checkpoint
from jaxhands.train import state as states
from jaxhands.weights import kept


def load(
  path: str | pathlib.Path,
  system: str = "",
  config: str = "",
  which: checkpoint.Which = "evaluated",
  batch_size: int = 8,
  hand_model: str = "",
) -> predictor.Model:
  """A trained system, ready for pictures: `load("runs/internet-demo").predict([picture])`.

  Args:
    path: folder of a run, a file of released weights, or the name of weights that come with the package: "internet".
    system: that a file is for; needed for files.
    config: "NAME:VARIANT" of a file's config; "" = that of the release.
    which: checkpoint of a run; see `checkpoint.checkpoint_folder`.
    batch_size: examples that are computed together.
    hand_model: folder of MANO files, for a file of weights that estimate MANO's parameters.
  Raises:
    FileNotFoundError: no such run or file.
    ValueError: it cannot be read or does not fit; or a file without `system`, or that holds only a part of it.
  """
  path = kept.located(expanded(path))
  if path.is_dir():
    return predictor.Model.of_run(path, which, batch_size)
  if not path.exists():
    raise FileNotFoundError(f"there is no run or file {path}, and of weights with the package {kept.names()}")
  if not system:
    raise ValueError(f"{path} is a file: say what it is for, as load({str(path)!r}, system='internet')")
  imported = released.import_file(path, released.released_config(system, config, hand_model))

  def read(shapes: states.Tree) -> states.Tree:
    checkpoint.check_same(imported.arrays, states.leaves(shapes), str(path))
    return imported.variables

  return predictor.Model(imported.config, read, batch_size)
