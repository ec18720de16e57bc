"""Files of weights in any format, told apart by what they begin with: torch's three, safetensors, npz.

    tensors = files.state_dict(files.read(path))     # name -> array

Nothing of a file is run, whatever it holds.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib
import struct
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

import ml_dtypes
import numpy as np

from jaxhands.weights import torch_files
from jaxhands.weights.torch_files import RefusedFile

# Where published checkpoints keep the network, besides the optimizer and what else they hold.
_NETWORK_KEYS = ("network", "state_dict", "model_state_dict", "model", "net", "generator")
_MAX_HEADER = 1 << 26
_SAFETENSORS: dict[str, Any] = {
  "F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16, "I64": np.int64,
  "I32": np.int32, "I16": np.int16, "I8": np.int8, "U8": np.uint8, "BOOL": np.bool_,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Stored:
  """What a file holds.

  Attributes:
    path: of the file.
    format: in words.
    tree: nested dicts and lists of arrays, numbers and text.
  """

  path: pathlib.Path
  format: str
  tree: Any


def read(path: pathlib.Path) -> Stored:
  """Reads a file of weights.

  Raises:
    FileNotFoundError: there is no such file.
    RefusedFile: it is in none of the formats, damaged, or asks for code to be run; the message names it.
  """
  if not path.is_file():
    raise FileNotFoundError(f"there is no file {path}" + (", but a folder of that name" if path.is_dir() else ""))
  try:
    name, tree = _read(path)
  except RefusedFile as error:
    raise RefusedFile(f"{path}: {error}") from error
  except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
    raise RefusedFile(f"{path}: it is damaged or cut: {error}") from error
  return Stored(path, name, tree)


def _read(path: pathlib.Path) -> tuple[str, Any]:
  with open(path, "rb") as file:
    head = file.read(16)
    file.seek(0)
    if not head:
      raise RefusedFile("it is empty")
    if torch_files.is_stream(head):
      return "torch before 1.6", torch_files.read_stream(file)
    if head.startswith(b"PK"):
      with zipfile.ZipFile(file) as archive:
        if torch_files.is_torch_zip(archive.namelist()):
          return "torch", torch_files.read_zip(archive)
        return "npz", _read_npz(archive)
    if len(head) > 8 and head[8:9] == b"{":
      return "safetensors", _read_safetensors(path)
    if tarfile.is_tarfile(path):
      with tarfile.open(path, "r:") as archive:
        if torch_files.is_tar(archive.getnames()):
          return "torch before 0.1.10", torch_files.read_tar(archive)
        raise RefusedFile(f"it is a tar of {archive.getnames()[:3]}, not a file of weights; unpack it")
    if head.startswith(b"\x89HDF"):
      raise RefusedFile("it is HDF5, which is not read; save its arrays by name with numpy.savez")
    if head[:1] == b"\x80":
      raise RefusedFile("it is a bare pickle, not a file of weights")
  raise RefusedFile("it is neither a torch file nor safetensors nor npz")


def _read_npz(archive: zipfile.ZipFile) -> dict[str, np.ndarray]:
  found = {}
  for name in archive.namelist():
    if not name.endswith(".npy"):
      raise RefusedFile(f"it is a zip with {name!r}, not a file of weights; unpack it")
    with archive.open(name) as member:
      try:
        found[name.removesuffix(".npy")] = np.lib.format.read_array(member, allow_pickle=False)
      except ValueError as error:
        raise RefusedFile(f"its array {name!r} cannot be read: {error}") from error
  return found


def _read_safetensors(path: pathlib.Path) -> dict[str, np.ndarray]:
  content = np.memmap(path, np.uint8, "r")
  (length,) = struct.unpack("<Q", content[:8].tobytes())
  if length > min(_MAX_HEADER, len(content) - 8):
    raise RefusedFile(f"it announces a header of {length} bytes, and has {len(content)} in all; it is cut")
  data = content[8 + length :]
  try:
    header = json.loads(content[8 : 8 + length].tobytes())
    entries = {key: entry for key, entry in header.items() if key != "__metadata__"}
    found = {}
    for key, entry in entries.items():
      first, end = entry["data_offsets"]
      if not 0 <= first <= end <= len(data):
        raise RefusedFile(f"its tensor {key!r} lies beyond its end; it is cut")
      found[key] = data[first:end].view(_SAFETENSORS[entry["dtype"]]).reshape(entry["shape"])
  except (ValueError, KeyError, TypeError, AttributeError) as error:
    if isinstance(error, RefusedFile):
      raise
    raise RefusedFile(f"its header cannot be read: {type(error).__name__}: {error}") from error
  return found


def arrays(tree: Any, prefix: str = "") -> Iterator[tuple[str, np.ndarray]]:
  """All arrays of a tree, with their paths ("optimizer/state/0/exp_avg")."""
  if isinstance(tree, np.ndarray):
    yield prefix, tree
  elif isinstance(tree, (dict, list)):
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in items:
      yield from arrays(value, f"{prefix}/{key}" if prefix else str(key))


def state_dict(stored: Stored, key: str = "") -> dict[str, np.ndarray]:
  """The network's tensors by name, out of whatever else a checkpoint holds.

  Args:
    stored: of `read`.
    key: under which they are, e.g. "network" or "ema/model"; "" = found by itself.
  Raises:
    ValueError: nothing there, or several candidates; says which.
  """
  found = stored.tree
  for part in key.split("/") if key else ():
    if not isinstance(found, dict) or part not in found:
      known = list(found)[:8] if isinstance(found, dict) else type(found).__name__
      raise ValueError(f"{stored.path} has no {part!r} in {key!r}; there is {known}")
    found = found[part]
  if _is_state_dict(found):
    return dict(found)
  inside = {name: value for name, value in found.items() if _is_state_dict(value)} if isinstance(found, dict) else {}
  preferred = [name for name in _NETWORK_KEYS if name in inside]
  if preferred or len(inside) == 1:
    return dict(inside[preferred[0] if preferred else next(iter(inside))])
  what = f"several: {sorted(map(str, inside))}" if inside else "none"
  raise ValueError(f"{stored.path}: of dictionaries with tensors there are {what}; say which with the key of one")


def _is_state_dict(value: Any) -> bool:
  return (
    isinstance(value, dict)
    and bool(value)
    and all(isinstance(name, str) and isinstance(tensor, np.ndarray) for name, tensor in value.items())
  )


def checksum(tensors: Mapping[str, Any]) -> str:
  """SHA-256 (its first 16 digits) over names, types, shapes and values, in the order of the names."""
  digest = hashlib.sha256()
  for name in sorted(tensors):
    array = np.ascontiguousarray(tensors[name])
    digest.update(f"{name}\0{array.dtype.name}\0{array.shape}\0".encode())
    digest.update(array.reshape(-1).view(np.uint8).tobytes())
  return digest.hexdigest()[:16]


def file_checksum(path: pathlib.Path) -> str:
  """SHA-256 of a file, whole."""
  with open(path, "rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()
