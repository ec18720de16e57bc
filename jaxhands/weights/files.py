"""Files of weights in any format, told apart by what they begin with: torch's three, safetensors, npz.

    tensors = files.state_dict(files.read(path))     # name -> array

Nothing of a file is run, whatever it holds.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import itertools
import json
import pathlib
import struct
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

import ml_dtypes
import numpy as np

from jaxhands.hands import array_archive
from jaxhands.hands.array_archive import RefusedArchive
from jaxhands.hands.inert_pickle import RefusedPickle, short
from jaxhands.weights import torch_files

# Where published checkpoints keep the network, besides the optimizer and what else they hold.
_NETWORK_KEYS = ("network", "state_dict", "model_state_dict", "model", "net", "generator")
_MAX_HEADER = 1 << 24
_MOST_BYTES = 1 << 29  # of what is packed, unless the file itself is that large
_BLOCK = 1 << 20  # values that are looked at together
_SAFETENSORS: dict[str, Any] = {
  "F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16, "I64": np.int64,
  "I32": np.int32, "I16": np.int16, "I8": np.int8, "U64": np.uint64, "U32": np.uint32, "U16": np.uint16,
  "U8": np.uint8, "BOOL": np.bool_, "F8_E4M3": ml_dtypes.float8_e4m3fn, "F8_E5M2": ml_dtypes.float8_e5m2,
  "C64": np.complex64,
}  # fmt: skip


class RefusedFile(ValueError):
  """A file is no checkpoint that can be read, is damaged, or asks for what is not allowed; one line says which."""


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

  Memory and time follow from the size of the file, whatever it announces.

  Raises:
    FileNotFoundError: there is no such file.
    RefusedFile: it is in none of the formats, damaged, too large, or asks for programs; the message names it.
  """
  if not path.is_file():
    raise FileNotFoundError(f"there is no file {path}" + (", but a folder of that name" if path.is_dir() else ""))
  with open(path, "rb") as file:
    try:
      name, tree = _read(path, file)
    except (RefusedPickle, RefusedArchive) as error:
      raise RefusedFile(f"{path}: it {error}") from error
    except Exception as error:  # nearly anything, of a damaged file
      words = " ".join(f"{type(error).__name__}: {error}".split())[:200]
      raise RefusedFile(f"{path}: it is damaged or cut: {words}") from error
  return Stored(path, name, tree)


def _read(path: pathlib.Path, file: io.BufferedIOBase) -> tuple[str, Any]:
  head, size = file.read(512), path.stat().st_size
  file.seek(0)
  if torch_files.is_stream(head):
    return "torch before 1.6", torch_files.read_stream(file, size)
  if head.startswith(b"PK"):
    with array_archive.opened(file, max(_MOST_BYTES, 16 * size)) as archive:
      if torch_files.is_torch_zip(archive.namelist()):
        return "torch", torch_files.read_zip(archive, size)
      found, others = _read_npz(archive)
      return f"npz, without {', '.join(map(short, others))}: no numbers" if others else "npz", found
  if head[8:9] == b"{":
    return "safetensors", _read_safetensors(path)
  if head[257:262] == b"ustar":
    with tarfile.open(fileobj=file, mode="r:") as archive:
      names = [member.name for member in itertools.islice(archive, 16)]
      if torch_files.is_tar(names):
        return "torch before 0.1.10", torch_files.read_tar(archive, size)
      raise RefusedPickle(f"is a tar of {names[:3]}, not a file of weights; unpack it")
  known = {
    b"\x89HDF": "is HDF5, which is not read; save its arrays by name with numpy.savez",
    b"\x1f\x8b": "is packed with gzip; unpack it",
    b"<": "is a web page, not what it should link to; download it again",
    b"version https://git-lfs": "only points to a file that Git LFS keeps; fetch it with `git lfs pull`",
    b"\x80": "is a bare pickle, not a file of weights",
  }
  otherwise = "is neither a torch file nor safetensors nor npz" if head else "is empty"
  raise RefusedPickle(next((why for start, why in known.items() if head.startswith(start)), otherwise))


def _read_npz(archive: zipfile.ZipFile) -> tuple[dict[str, np.ndarray], list[str]]:
  """Arrays of numbers by name, and the names of others."""
  arrays, others = {}, []
  for name in archive.namelist():
    if not name.endswith(".npy"):
      raise RefusedArchive(f"is a zip with {short(name)}, not a file of weights; unpack it")
    key = name.removesuffix(".npy")
    try:
      array = array_archive.array(archive.read(name))
    except array_archive.HoldsObjects:
      others.append(key)
    except ValueError as error:
      raise RefusedArchive(f"has an array {short(name)} that cannot be read: {error}") from error
    else:
      if array.dtype.kind in "USMm" or array.dtype.names:
        others.append(key)
      else:
        arrays[key] = array
  return arrays, others


def _read_safetensors(path: pathlib.Path) -> dict[str, np.ndarray]:
  content = np.memmap(path, np.uint8, "r")
  (length,) = struct.unpack("<Q", content[:8].tobytes())
  if length > min(_MAX_HEADER, len(content) - 8):
    raise RefusedArchive(
      f"announces a header of {length} bytes, and has {len(content)} in all; it is cut, or none of weights"
    )
  data, arrays, spans = content[8 + length :], {}, []
  header = json.loads(content[8 : 8 + length].tobytes(), object_pairs_hook=_once)
  for key, entry in header.items():
    if key != "__metadata__":
      first, end = entry["data_offsets"]
      if not 0 <= first <= end <= len(data):
        raise RefusedArchive(f"has a tensor {short(key)} that lies beyond its end; it is cut")
      kind, shape = entry["dtype"], tuple(entry["shape"])
      if kind not in _SAFETENSORS or min(shape, default=0) < 0:
        raise RefusedArchive(f"has a tensor {short(key)} of the unknown kind {short(kind)} or shape {short(shape)}")
      arrays[key] = data[first:end].view(_SAFETENSORS[kind]).reshape(shape)
      spans.append((first, end))
  if any(end > first for (_, end), (first, _) in itertools.pairwise(sorted(spans))):
    raise RefusedArchive("has tensors that overlap")
  return arrays


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
  if len(found := dict(pairs)) < len(pairs):
    raise RefusedArchive("has two entries of one name")
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
  tree = stored.tree
  for part in key.split("/") if key else ():
    if not isinstance(tree, dict) or part not in tree:
      known = list(tree)[:8] if isinstance(tree, dict) else type(tree).__name__
      raise ValueError(f"{stored.path} has no {part!r} in {key!r}; there is {known}")
    tree = tree[part]
  if _is_state_dict(tree):
    return dict(tree)
  inside = {name: value for name, value in tree.items() if _is_state_dict(value)} if isinstance(tree, dict) else {}
  preferred = [name for name in _NETWORK_KEYS if name in inside]
  if preferred or len(inside) == 1:
    return dict(inside[preferred[0] if preferred else next(iter(inside))])
  what = f"several: {sorted(map(str, inside))}" if inside else f"none{_why_none(tree)}"
  raise ValueError(f"{stored.path}: of dictionaries with tensors there are {what}; say which with the key of one")


def _why_none(tree: Any) -> str:
  """Names what stands between the tensors of a dictionary: one that is sparse or quantized, or no tensor at all."""
  for name, value in [("", tree), *tree.items()] if isinstance(tree, dict) else []:
    if isinstance(value, dict) and any(isinstance(inner, np.ndarray) for inner in value.values()):
      other = next((key for key, inner in value.items() if not isinstance(inner, np.ndarray)), None)
      return f" of tensors alone ({short(other)}{f' in {short(name)}' if name else ''} is {short(value.get(other))})"
  return ""


def _is_state_dict(value: Any) -> bool:
  return (
    isinstance(value, dict)
    and bool(value)
    and all(isinstance(name, str) and isinstance(tensor, np.ndarray) for name, tensor in value.items())
  )


def blocks(array: np.ndarray) -> Iterator[np.ndarray]:
  """The values of an array in its order, some at a time: one that repeats its storage is never made whole."""
  flat = array.reshape(-1) if array.flags.c_contiguous else array.flat
  for start in range(0, array.size, _BLOCK):
    yield flat[start : start + _BLOCK]


def checksum(tensors: Mapping[str, Any]) -> str:
  """SHA-256 (its first 16 digits) over names, types, shapes and values, in the order of the names."""
  digest = hashlib.sha256()
  for name in sorted(tensors):
    array = np.asarray(tensors[name])
    digest.update(f"{name}\0{array.dtype.name}\0{array.shape or (1,)}\0".encode())
    for block in blocks(array):
      digest.update(block.tobytes())
  return digest.hexdigest()[:16]


def file_checksum(path: pathlib.Path) -> str:
  """SHA-256 of a file, whole."""
  with open(path, "rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()
