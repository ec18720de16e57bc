"""From a configuration to the folder of a data set."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Callable, Sequence

from data_builders.synthetic.config import SyntheticConfig

_DESCRIPTION = (
  "Two hands, or one, of the embedded hand model, rendered in plausible and interacting poses before procedural "
  "backgrounds, with every label. Subjects, pose families and backgrounds of train, val and test are disjoint."
)


def build(
  config: SyntheticConfig,
  out: pathlib.Path | None = None,
  jobs: int | None = None,
  progress: Callable[[int, int], None] | None = None,
  root: pathlib.Path | None = None,
  beam: Sequence[str] | None = None,
) -> pathlib.Path:
  """Builds the data set, or goes on with it, or finds it complete.

  Args:
    config: what is in it.
    out: its folder; None: `synthetic[-VARIANT][-HANDS]-HASH` in `root`.
    jobs: processes; None: one a core. With more than one, a script that calls this needs the usual
      `if __name__ == "__main__":`.
    progress: called now and then with the numbers of finished and of all records.
    root: folder of all data sets; None: `$JAXHANDS_DATA`, or the user's cache.
    beam: see `data_builders.shards.build`.
  Returns:
    The folder.
  Raises:
    data_builders.shards.BuildError: see `data_builders.shards.build`.
  """
  # Numba and TFDS take seconds to import, and whoever only wants a configuration needs neither.
  from data_builders import shards
  from data_builders.synthetic.records import make_record

  plan = shards.Plan(
    name="synthetic",
    arguments=config.arguments(),
    counts=config.counts,
    make_record=functools.partial(make_record, config),
    description=_DESCRIPTION,
  )
  folder = out if out is not None else shards.default_folder(config.folder_name, plan.arguments, root)
  return shards.build(plan, folder, shards.usable_cores() if jobs is None else jobs, progress, beam)
