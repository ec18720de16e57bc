"""From a download to the folder of a data set, or to a list of what is wrong with it."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import pathlib
import shutil
import tempfile
from collections.abc import Sequence

from data_builders import shards
from data_builders.aih.config import RELEASED
from data_builders.aih.released.layout import parts_of
from data_builders.aih.released.problems import KINDS
from data_builders.aih.released.records import Source, make_record
from data_builders.aih.released.survey import Say, Tables, survey
from data_builders.problems import Problems
from data_builders.shards import BuildError
from data_builders.synthetic.config import SPLITS
from jaxhands.paths import expanded
from jaxhands.runs import lock

NAME = f"aih-{RELEASED}"
_TFDS_NAME = NAME.replace("-", "_")  # TFDS takes what follows a hyphen for the split
_SURVEY = ".survey"
_RECORDS_PER_SHARD = 2000
_DESCRIPTION = (
  "AIH as released by Meng et al., ECCV 2022 (CC BY-NC 4.0): two hands, one of which hides the other. AIH_Render "
  "first, then AIH_Syn, pasted with the release's transforms. No joints; of AIH_Render's distractor only what is seen "
  "is known."
)


@dataclasses.dataclass(frozen=True)
class ReleasedConfig:
  """What is built of a download: `source` holds `AIH_render`, `AIH_syn`, or both.

  Raises:
    BuildError: no such folder, or none of them in it.
  """

  source: str

  def __post_init__(self) -> None:
    if not self.folder.is_dir():
      raise BuildError(f"{self.folder} is no folder; --source is the folder that holds AIH_render and AIH_syn")
    parts_of(self.folder)

  @property
  def folder(self) -> pathlib.Path:
    return expanded(self.source).absolute()


def verify(config: ReleasedConfig, problems: Problems, say: Say) -> list[str]:
  """Checks everything that a build would rely on; builds nothing.

  Returns:
    Lines that say what was looked at.
  """
  with tempfile.TemporaryDirectory(prefix="aih-") as folder, shards.clear_errors(pathlib.Path(folder)):
    tables = survey(config.folder, pathlib.Path(folder), problems, say)
    return [
      f"{split}: {len(tables.render(split)):,} records of AIH_Render and {len(tables.syn(split)):,} of AIH_Syn can be "
      "built"
      for split in SPLITS
    ]


def build(
  config: ReleasedConfig,
  out: pathlib.Path | None = None,
  jobs: int | None = None,
  progress: shards.Progress | None = None,
  say: Say = lambda what, done, total: None,
  beam: Sequence[str] | None = None,
) -> tuple[pathlib.Path, list[str]]:
  """Builds the data set, or goes on with it, or finds it complete.

  Args:
    config: what is built.
    out: its folder; None: `$JAXHANDS_DATA/aih-released`, or the same in the user's cache.
    jobs: processes; None: one a core.
    progress: called now and then with the numbers of finished and of all records.
    say: told what is read and checked before records are written.
    beam: see `shards.build`.
  Returns:
    The folder, which also has `quarantine.tsv` (every problem, a line each), and the problems in short.
  Raises:
    BuildError: a list is missing or broken; besides those of `shards.build`.
  """
  out = expanded(shards.default_folder(NAME, {}).with_name(NAME) if out is None else out).absolute()
  if out.exists() and not out.is_dir():
    raise BuildError(f"{out} is a file; give the path of a folder")
  surveyed = out / _SURVEY
  with shards.clear_errors(out), lock.only(out, wait=True):
    strangers = (path for path in out.iterdir() if not path.name.startswith("."))
    if not (surveyed / "survey.json").is_file() and any(strangers) and not shards.is_begun(out, _TFDS_NAME):
      raise BuildError(f"{out} holds something else; give a new or an empty folder")
    found = shards.read_survey(surveyed, lambda: _make_survey(config, surveyed, say), ("splits", "problems"))
  source = Source(str(config.folder), Tables(str(surveyed)))
  plan = shards.Plan(
    name=_TFDS_NAME,
    arguments={"splits": found["splits"]},
    counts={split: summary["records"] for split, summary in found["splits"].items()},
    make_record=functools.partial(make_record, source),
    description=_DESCRIPTION,
    records_per_shard=_RECORDS_PER_SHARD,
  )
  shards.build(plan, out, shards.usable_cores() if jobs is None else jobs, progress, beam)
  shutil.copyfile(surveyed / "problems.tsv", out / "quarantine.tsv")
  return out, found["problems"]


def _make_survey(config: ReleasedConfig, folder: pathlib.Path, say: Say) -> None:
  """Surveys into `folder`, which gets its name when all of it is there."""
  partial = folder.with_name(f"{folder.name}.partial")
  shutil.rmtree(partial, ignore_errors=True)
  partial.mkdir()
  with (partial / "problems.tsv").open("w", encoding="utf-8", errors="backslashreplace") as listing:
    problems = Problems(KINDS, listing)
    problems.begin_listing()
    tables = survey(config.folder, partial, problems, say)
  if unusable := problems.unusable():
    shutil.rmtree(partial)
    raise BuildError(f"{unusable[0]}{f' (and {len(unusable) - 1} more; see --verify)' if unusable[1:] else ''}")
  splits = {
    split: {"records": tables.count(split), "tables": _digest(partial, split)}
    for split in SPLITS
    if tables.count(split)
  }
  if not splits:
    shutil.rmtree(partial)
    raise BuildError(f"{config.folder} has nothing that can be built; see --verify")
  (partial / "survey.json").write_text(json.dumps({"splits": splits, "problems": problems.lines()}, indent=2) + "\n")
  shutil.rmtree(folder, ignore_errors=True)  # what is left of one that lost its summary
  partial.rename(folder)


def _digest(folder: pathlib.Path, split: str) -> str:
  found = hashlib.sha256()
  for part in ("render", "syn"):
    found.update((folder / f"{part}-{split}.npy").read_bytes())
  return found.hexdigest()[:16]
