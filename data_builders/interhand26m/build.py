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
from typing import Any

import numpy as np

from data_builders import shards
from data_builders.interhand26m import archive, json_stream
from data_builders.interhand26m.layout import BRANCHES, SPLITS, SplitFiles, find_splits
from data_builders.interhand26m.problems import KINDS
from data_builders.interhand26m.records import Source, load_model, make_record
from data_builders.interhand26m.rootnet import write_root_depths
from data_builders.interhand26m.survey import Say, survey
from data_builders.interhand26m.tables import Split
from data_builders.problems import Problems
from data_builders.shards import BuildError
from jaxhands.hands.mano_files import ManoFileError
from jaxhands.paths import expanded
from jaxhands.runs import lock

NAME = "interhand26m"
_SUFFIX = {"ALL": "", "H": "-human", "M": "-machine"}
_SURVEY = ".survey"
_DEPTHS = "root_depths.npz"
_RECORDS_PER_SHARD = 2000  # 120 MB


@dataclasses.dataclass(frozen=True)
class InterHandConfig:
  """What is built of a download.

  Attributes:
    source: folder with `annotations`, `images` and, where wanted, `rootnet_output`.
    branch: H (annotated by people), M (by machine) or ALL; frames that have both keep that of the people.
    splits: which ones; () = those that are there.
    human_ids: V1.0: lists of annotation ids, one a line, with the split in the file's name.
    mano: folder of the user's MANO files; "" = no fitted parameters, part labels and masks.

  Raises:
    BuildError: an unknown branch or split, or no such folder.
  """

  source: str
  branch: str = "ALL"
  splits: tuple[str, ...] = ()
  human_ids: tuple[str, ...] = ()
  mano: str = ""

  def __post_init__(self) -> None:
    if self.branch not in BRANCHES:
      raise BuildError(f"branch is {self.branch!r}, expected one of {', '.join(BRANCHES)}")
    if unknown := sorted(set(self.splits) - set(SPLITS)):
      raise BuildError(f"splits has {unknown[0]!r}, expected some of {', '.join(SPLITS)}")
    if not self.folder.is_dir():
      raise BuildError(f"{self.folder} is no folder; --source is the folder that holds annotations and images")

  @property
  def folder(self) -> pathlib.Path:
    return expanded(self.source).absolute()

  def default_out(self) -> pathlib.Path:
    """`$JAXHANDS_DATA/interhand26m`, with the branch behind it, or the same in the user's cache."""
    return shards.default_folder(NAME, {}).with_name(f"{NAME}{_SUFFIX[self.branch]}")


def read_human_ids(config: InterHandConfig, files: list[SplitFiles]) -> dict[str, np.ndarray]:
  """Ids by split.

  Raises:
    BuildError: a list that cannot be read or whose split is not clear, or one that the branch needs is not given.
  """
  ids = {}
  for text in config.human_ids:
    path = expanded(text)
    named = [split for split in SPLITS if split in path.name]
    if len(named) != 1:
      raise BuildError(f"{path}: the name of a list of human ids must hold one of {', '.join(SPLITS)}")
    try:
      ids[named[0]] = np.unique(np.array(path.read_text("utf-8-sig").split(), np.int64))
    except (OSError, ValueError, OverflowError) as error:
      raise BuildError(f"{path} is no list of annotation ids, one a line: {error}") from error
  for of_split in files:
    if of_split.version == "V0.0" and ids:
      raise BuildError("V0.0 has a folder for each branch; --human-ids is for V1.0")
    known = of_split.version == "V0.0" or of_split.split in ids or of_split.split == "val"
    if config.branch != "ALL" and not known:
      raise BuildError(
        f"V1.0's annotations do not say who made them: branch {config.branch} of {of_split.split} needs "
        f"--human-ids aid_human_annot_{of_split.split}.txt (of the InterWild repository); without it there is only ALL"
      )
  return ids


def verify(config: InterHandConfig, problems: Problems, say: Say) -> list[str]:
  """Checks everything that a build would rely on, and the archive; builds nothing.

  Returns:
    Lines that say what was looked at.
  """
  lines = archive.check_archives(config.folder, problems, say)
  with tempfile.TemporaryDirectory(prefix="interhand26m-") as folder, shards.clear_errors(pathlib.Path(folder)):
    _survey_all(config, pathlib.Path(folder), problems, say)
    for split, summary in json.loads((pathlib.Path(folder) / "survey.json").read_text())["splits"].items():
      lines.append(f"{split}: {summary['records']:,} records can be built")
  return lines


def build(
  config: InterHandConfig,
  out: pathlib.Path | None = None,
  jobs: int | None = None,
  progress: shards.Progress | None = None,
  say: Say = lambda what, done, total: None,
  beam: Sequence[str] | None = None,
) -> tuple[pathlib.Path, list[str]]:
  """Builds the data set, or goes on with it, or finds it complete.

  Args:
    config: what is built.
    out: its folder; None: `config.default_out()`.
    jobs: processes; None: one a core.
    progress: called now and then with the numbers of finished and of all records.
    say: told what is read and checked before records are written.
    beam: see `shards.build`.
  Returns:
    The folder, which also has `quarantine.tsv` (every problem, a line each) and `root_depths-SPLIT.npz`; and the
    problems in short.
  Raises:
    BuildError: an annotation file is missing or broken; besides those of `shards.build`.
  """
  out = expanded(out if out is not None else config.default_out()).absolute()
  if out.exists() and not out.is_dir():
    raise BuildError(f"{out} is a file; give the path of a folder")
  identity, surveyed = _identity(config), out / _SURVEY
  with shards.clear_errors(out), lock.only(out, wait=True):
    strangers = (path for path in out.iterdir() if not path.name.startswith("."))
    if not (surveyed / "survey.json").is_file() and any(strangers) and not shards.is_begun(out, NAME):
      raise BuildError(f"{out} holds something else; give a new or an empty folder")
    found = shards.read_survey(surveyed, lambda: _make_survey(config, surveyed, say), ("of", "splits", "problems"))
  if found["of"] != identity:
    differing = sorted(key for key in identity if identity[key] != found["of"].get(key))
    raise BuildError(
      f"{out} was begun with another {' and another '.join(differing)}; give another folder or delete this one"
    )
  with shards.clear_errors(out), lock.only(out, wait=True):
    found = _with_late_depths(config, surveyed, found)
  arguments = {**found["of"], "splits": found["splits"]}
  arguments.pop("files")
  source = Source(
    surveyed=str(surveyed),
    pictures={files.split: str(files.pictures) for files in find_splits(config.folder, config.branch, config.splits)},
    mano=config.mano,
  )
  plan = shards.Plan(
    name=NAME,
    arguments=arguments,
    counts={split: summary["records"] for split, summary in found["splits"].items()},
    make_record=functools.partial(make_record, source),
    description=f"InterHand2.6M {found['of']['version']} (CC-BY-NC 4.0), branch {config.branch}. {_DESCRIPTION}",
    records_per_shard=_RECORDS_PER_SHARD,
  )
  with shards.clear_errors(out), lock.only(out, wait=True):
    if not shards.is_complete(plan, out):
      _check_tables(surveyed, found["splits"])
  shards.build(plan, out, shards.usable_cores() if jobs is None else jobs, progress, beam)
  shutil.copyfile(surveyed / "problems.tsv", out / "quarantine.tsv")
  for split in plan.counts:
    if (surveyed / split / _DEPTHS).is_file():
      shutil.copyfile(surveyed / split / _DEPTHS, out / f"root_depths-{split}.npz")
  return out, found["problems"]


_DESCRIPTION = (
  "Real pictures of one and two hands with 3D joints; single hands first, then interacting ones. Joints that are not "
  "finite or cannot be are masked; records whose picture, camera or joints are missing are left out: quarantine.tsv."
)


def _identity(config: InterHandConfig) -> dict[str, object]:
  """What decides the survey, but for the pictures, of which those that come later are for a new folder, and RootNet."""
  files = find_splits(config.folder, config.branch, config.splits)
  read_human_ids(config, files)
  lists = sorted(expanded(text) for text in config.human_ids)
  return {
    "version": files[0].version,
    "branch": config.branch,
    "mano": _model_identity(config),
    "human_ids": {path.name: json_stream.digest(path) for path in lists},
    "files": {path.name: path.stat().st_size for of_split in files for path in of_split.annotations.values()},
  }


def _model_identity(config: InterHandConfig) -> str:
  if not config.mano:
    return ""
  try:
    return load_model(config.mano).identity
  except ManoFileError as error:
    raise BuildError(str(error)) from error


def _make_survey(config: InterHandConfig, folder: pathlib.Path, say: Say) -> None:
  """Surveys into `folder`, which gets its name when all of it is there."""
  partial = folder.with_name(f"{folder.name}.partial")
  shutil.rmtree(partial, ignore_errors=True)
  partial.mkdir()
  with (partial / "problems.tsv").open("w", encoding="utf-8", errors="backslashreplace") as listing:
    problems = Problems(KINDS, listing)
    problems.begin_listing()
    _survey_all(config, partial, problems, say)
  if unusable := problems.unusable():
    shutil.rmtree(partial)
    raise BuildError(f"{unusable[0]}{f' (and {len(unusable) - 1} more; see --verify)' if unusable[1:] else ''}")
  shutil.rmtree(folder, ignore_errors=True)  # what is left of one that lost its summary
  partial.rename(folder)


def _survey_all(config: InterHandConfig, folder: pathlib.Path, problems: Problems, say: Say) -> None:
  files = find_splits(config.folder, config.branch, config.splits)
  ids, identity = read_human_ids(config, files), _identity(config)
  model = load_model(config.mano) if config.mano else None
  splits, rootnet = {}, {}
  for of_split in files:
    (folder / of_split.split).mkdir()
    found = survey(of_split, folder / of_split.split, config.branch, ids.get(of_split.split), model, problems, say)
    if found is None:
      continue
    write_root_depths(of_split, found, folder / of_split.split / _DEPTHS, problems)
    rootnet[of_split.split] = [path.name for path in of_split.rootnet]
    splits[of_split.split] = {"records": len(found.rows), "labels": _digest(folder / of_split.split)}
  _write_summary(folder, {"of": identity, "splits": splits, "problems": problems.lines(), "rootnet": rootnet})


def _with_late_depths(config: InterHandConfig, surveyed: pathlib.Path, found: dict[str, Any]) -> dict[str, Any]:
  """The survey's summary, after RootNet's files that came later were made tables."""
  looked_at = {split: found.get("rootnet", {}).get(split, []) for split in found["splits"]}
  late = {
    files.split: files
    for files in find_splits(config.folder, config.branch, config.splits)
    if looked_at.get(files.split) not in (None, [path.name for path in files.rootnet])
    and not (surveyed / files.split / _DEPTHS).is_file()
  }
  if not late:
    return found
  _check_tables(surveyed, {split: found["splits"][split] for split in late})
  with (surveyed / "problems.tsv").open("a", encoding="utf-8", errors="backslashreplace") as listing:
    problems = Problems(KINDS, listing)
    for split, files in late.items():
      partial = surveyed / split / f".{_DEPTHS}.partial"
      if write_root_depths(files, Split(surveyed / split), partial, problems) and partial.is_file():
        partial.replace(surveyed / split / _DEPTHS)
  looked_at |= {split: [path.name for path in files.rootnet] for split, files in late.items()}
  found = found | {"problems": [*found["problems"], *problems.lines()], "rootnet": looked_at}
  _write_summary(surveyed, found)
  return found


def _write_summary(folder: pathlib.Path, summary: dict[str, Any]) -> None:
  partial = folder / ".survey.json.partial"
  partial.write_text(json.dumps(summary, indent=2) + "\n")
  partial.replace(folder / "survey.json")


def _check_tables(surveyed: pathlib.Path, splits: dict[str, Any]) -> None:
  for split, summary in splits.items():
    if _digest(surveyed / split) != summary["labels"]:
      raise BuildError(shards.damaged_table(surveyed / split, surveyed, "its tables are not those that were written"))


def _digest(folder: pathlib.Path) -> str:
  """Of all that decides a split's records but the pictures."""
  found = hashlib.sha256()
  for name in ("rows", "names", "joints", "mano", "cameras.npz"):
    if (folder / name).is_file():
      found.update(json_stream.digest(folder / name).encode())
  return found.hexdigest()[:16]
