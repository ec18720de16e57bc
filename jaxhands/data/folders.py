"""Where data sets lie: "interhand26m:val[:10%]" -> a folder and a split."""

from __future__ import annotations

import os
import pathlib
import re
import tempfile
from collections.abc import Sequence

from jaxhands.paths import check_on_disk, expanded

_SPLITS = {"train": "train", "eval": "test"}  # that a data set's name alone stands for in flags
_PATH = ("/", "./", "../", "~")  # how a path begins, which may hold colons, as a split's brackets may
_PATH_AND_SPLIT = re.compile(r"(.*):((?:[^:\[\]]|\[[^\]]*\])+)", re.DOTALL)


def root(folder: str = "") -> pathlib.Path:
  """Folder of all data sets: the given one, `$JAXHANDS_DATA`, or `jaxhands` in the user's cache.

  Raises:
    FileNotFoundError: none is given, and this user has no home.
  """
  given = folder or os.environ.get("JAXHANDS_DATA")
  path = expanded(given) if given else cache()
  if path is None:
    raise FileNotFoundError("data sets have no place, because this user has no home; set JAXHANDS_DATA to a folder")
  return path


def cache() -> pathlib.Path | None:
  """`jaxhands` in the user's cache; None without `$XDG_CACHE_HOME` and a home."""
  try:
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "jaxhands"
  except RuntimeError:  # a user id that the system does not know
    return None


def why_not_writable(folder: pathlib.Path) -> str:
  """What stands against writing files into a folder, which is made if it is not there; "" = nothing."""
  try:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
      file.write(bytes(4096))
  except OSError as error:
    return f"{error.strerror or error}: {folder}"
  return ""


def parse(text: str) -> tuple[str, str, str]:
  """Name, variant and split of "NAME[/VARIANT]:SPLIT"; of "PATH:SPLIT" the path, no variant, and the split.

  Raises:
    ValueError: a part is missing.
    FileNotFoundError: it is an address, as gs://BUCKET/NAME:SPLIT.
  """
  check_on_disk(text)
  is_path = text.startswith(_PATH)
  found = _PATH_AND_SPLIT.fullmatch(text) if is_path else None
  name, split = found.groups() if found else ("", "") if is_path else text.partition(":")[::2]
  if not name or not split:
    raise ValueError(f"data set {text!r}: write NAME:SPLIT, NAME/VARIANT:SPLIT or FOLDER:SPLIT, e.g. 'synthetic:train'")
  if is_path:
    return name, "", split
  name, _, variant = name.partition("/")
  return name, variant, split


def find(name: str, variant: str = "", folder: str = "") -> pathlib.Path:
  """Folder of a data set that was built: a path, or NAME[-VARIANT] or NAME[-VARIANT]-HASH below `root(folder)`.

  Raises:
    FileNotFoundError: there is none; says how to build it.
    ValueError: there are several; says which.
  """
  if name.startswith(_PATH):
    path = expanded(name)
    if not (path / "features.json").is_file():
      raise FileNotFoundError(f"there is no data set in {path}")
    return path
  stem = f"{name}-{variant}" if variant else name
  built = [path.parent for path in sorted(root(folder).glob(f"{stem}*/features.json"))]
  matching = [path for path in built if _is_hash(path.name[len(stem) :].removeprefix("-"))]
  if not matching:
    raise FileNotFoundError(
      f"there is no data set {stem!r} below {root(folder)}; build it with `python -m data_builders.{name}` or set "
      "JAXHANDS_DATA or config.data.dir to where it is"
    )
  exact = [path for path in matching if path.name == stem]
  if len(matching) > 1 and not exact:
    raise ValueError(f"there are several data sets {stem!r}: {[str(path) for path in matching]}; name one by its path")
  return (exact or matching)[0]


def _is_hash(text: str) -> bool:
  return all(character in "0123456789abcdef" for character in text)


def named_in_flags(arguments: Sequence[str]) -> list[str]:
  """Flags with `--config.data.eval.name=NAME` and its kin as the tuple and the folder that a config has.

  For a shell, where a tuple must be quoted: `--config.data.train.` and `--config.data.eval.` may each be followed by
  `name=NAME[/VARIANT]`, `split=SPLIT` (without it "train" and "test") and `dir=DIR`, the data set's own folder or the
  one that holds it.

  Raises:
    ValueError: a split or folder without a name, or another word.
  """
  given: dict[str, dict[str, str]] = {"train": {}, "eval": {}}
  kept = []
  for argument in arguments:
    flag = re.fullmatch(r"--config\.data\.(train|eval)\.(\w+)=(.*)", argument)
    if flag is None:
      kept.append(argument)
    elif flag[2] in ("name", "split", "dir"):
      given[flag[1]][flag[2]] = flag[3]
    else:
      raise ValueError(f"--config.data.{flag[1]}.{flag[2]}: write name=, split= or dir=")
  for use, words in given.items():
    if not words:
      continue
    if "name" not in words:
      raise ValueError(f"--config.data.{use}.{next(iter(words))} needs --config.data.{use}.name=NAME beside it")
    name, variant, split = parse(f"{words['name']}:{words.get('split', _SPLITS[use])}")
    where = words["name"]
    if "dir" in words:
      folder = expanded(words["dir"]).absolute()
      where = str(folder if (folder / "features.json").is_file() else find(name, variant, str(folder)))
    kept.append(f"--config.data.{use}=({f'{where}:{split}'!r},)")
  return kept
