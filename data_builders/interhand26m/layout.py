"""Where the files of a download are, in the first release (V0.0) and in the final one (V1.0)."""

from __future__ import annotations

import dataclasses
import pathlib

from data_builders.shards import BuildError

SPLITS = ("train", "val", "test")
BRANCHES = ("ALL", "H", "M")
_V0_FOLDER = {"ALL": "all", "H": "human_annot", "M": "machine_annot"}


@dataclasses.dataclass(frozen=True)
class SplitFiles:
  """The files of one split; all but `data` may be missing."""

  split: str
  version: str  # "V0.0" or "V1.0"
  data: pathlib.Path
  camera: pathlib.Path
  joint_3d: pathlib.Path
  mano: pathlib.Path  # NeuralAnnot
  pictures: pathlib.Path  # folder that `file_name` starts from
  human_data: pathlib.Path | None  # V0.0: the human annotators' part of the split
  rootnet: tuple[pathlib.Path, ...]  # candidates

  @property
  def annotations(self) -> dict[str, pathlib.Path]:
    """The files that are there, by their role."""
    paths = {"data": self.data, "camera": self.camera, "joint_3d": self.joint_3d, "mano": self.mano}
    return {role: path for role, path in paths.items() if path.is_file()}


def find_splits(source: pathlib.Path, branch: str, splits: tuple[str, ...] = ()) -> list[SplitFiles]:
  """The splits that the folder `source` has annotations of.

  Args:
    source: holds `annotations` and `images`.
    branch: of `BRANCHES`; V0.0 has a folder for each, V1.0 has one folder a split.
    splits: which ones; () = those that are there.
  Raises:
    BuildError: there are none, or not those that are wanted.
  """
  folder = source / "annotations"
  if not folder.is_dir():
    raise BuildError(f"{source} has no folder 'annotations'; --source is the folder that holds annotations and images")
  version = "V0.0" if any((folder / name).is_dir() for name in _V0_FOLDER.values()) else "V1.0"
  found = []
  for split in SPLITS:
    of_split = folder / (_V0_FOLDER[branch] if version == "V0.0" else split)
    stem = f"InterHand2.6M_{split}"
    files = SplitFiles(
      split=split,
      version=version,
      data=of_split / f"{stem}_data.json",
      camera=of_split / f"{stem}_camera.json",
      joint_3d=of_split / f"{stem}_joint_3d.json",
      mano=of_split / f"{stem}_MANO_NeuralAnnot.json",
      pictures=source / "images" / split,
      human_data=folder / "human_annot" / f"{stem}_data.json" if version == "V0.0" else None,
      rootnet=tuple(sorted((source / "rootnet_output").glob(f"rootnet*_{split}*.json"))),
    )
    if files.annotations:
      found.append(files)
  there = [files.split for files in found]
  wanted = splits or tuple(there)
  if missing := [split for split in wanted if split not in there]:
    raise BuildError(f"{folder} has no annotations of {', '.join(missing)} ({version}, branch {branch})")
  if not found:
    raise BuildError(
      f"{folder} has no InterHand2.6M_SPLIT_data.json ({version}, branch {branch}); unpack the annotations there"
    )
  return [files for files in found if files.split in wanted]
