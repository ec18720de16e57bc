"""From a configuration to the folder of a data set."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

from data_builders.aih.config import AihConfig
from jaxhands.paths import expanded

NAME = "aih"
_SURVEY = ".survey"
_DESCRIPTION = (
  "Two hands, one of which hides the other, with amodal and visible masks, the picture with either hand in front and "
  "without the other one: AIH_Render and AIH_Syn of HDR (Meng et al., ECCV 2022), made anew."
)


def build(
  config: AihConfig,
  out: pathlib.Path | None = None,
  jobs: int | None = None,
  progress: Callable[[int, int], None] | None = None,
  root: pathlib.Path | None = None,
  say: Callable[[str, int, int], None] = lambda what, done, total: None,
  beam: Sequence[str] | None = None,
) -> pathlib.Path:
  """Builds the data set, or goes on with it, or finds it complete.

  Without data sets to make it of, the embedded single hands are built first, beside it.

  Args:
    config: what is in it.
    out: its folder; None: `aih[-VARIANT]-HASH` in `root`.
    jobs: processes; None: one a core. With more than one, a script that calls this needs the usual
      `if __name__ == "__main__":`.
    progress: called now and then with the numbers of finished and of all records.
    root: folder of all data sets; None: `$JAXHANDS_DATA`, or the user's cache.
    say: told what is read before records are written.
    beam: see `data_builders.shards.build`.
  Returns:
    The folder.
  Raises:
    data_builders.shards.BuildError: a data set that it is made of is not there or does not fit; besides those of
      `data_builders.shards.build`.
  """
  # Numba and TFDS take seconds to import, and whoever only wants a configuration needs neither.
  from data_builders import shards, synthetic
  from data_builders.aih.records import Source, make_record
  from data_builders.aih.render import Fits, load_layouts, load_model
  from data_builders.aih.survey import survey
  from data_builders.built import Built, find_built
  from data_builders.synthetic.config import content
  from jaxhands.render.texture import texture_files
  from jaxhands.runs import lock

  jobs = shards.usable_cores() if jobs is None else jobs
  place = "" if root is None else str(root)
  singles = find_built(config.singles, place) if config.has_syn and config.singles else None
  poses = find_built(config.poses, place) if config.has_render and config.poses else None
  model = load_model(config.mano).identity if poses is not None else ""
  shown = None
  if poses is not None:
    shown = poses.identity() | {"mano": model}
    if config.textures:
      load_layouts(config.mano, config.textures)  # which finds out whether they fit
      layout, pictures_of_skin = texture_files(expanded(config.textures))
      shown |= {"textures": content([*pictures_of_skin, layout])}
  arguments = config.arguments(None if singles is None else singles.identity(), shown)
  out = shards.default_folder(config.folder_name, arguments, root) if out is None else expanded(out).absolute()

  def plan(make_record: Callable[[str, int], Any]) -> shards.Plan:
    return shards.Plan(NAME, arguments, config.counts, make_record, _DESCRIPTION)

  # Where it is complete, what it was made of may be gone.
  if shards.is_complete(plan(_nothing), out):
    return out
  progress = progress or (lambda finished, total: None)
  before = 0  # records of single hands that are built first
  if config.has_syn and singles is None:
    before = sum(config.embedded_singles.counts.values())
    count = sum(config.counts.values())
    folder = synthetic.build(
      config.embedded_singles, None, jobs, lambda done, total: progress(done, total + count), root, beam
    )
    singles = Built(str(folder))
  with shards.clear_errors(out), lock.only(out, wait=True):
    surveyed = survey(out / f"{_SURVEY}-{shards.arguments_hash(arguments)}", config.counts, singles, poses, model, say)
  fits = None if poses is None else Fits(poses, surveyed, config.mano, config.textures)
  make = functools.partial(make_record, Source(config, singles, surveyed, fits))
  return shards.build(plan(make), out, jobs, lambda done, total: progress(before + done, before + total), beam)


def _nothing(split: str, index: int) -> Any:
  raise AssertionError(f"record {index} of {split} is there")
