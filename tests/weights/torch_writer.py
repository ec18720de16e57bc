"""Writes what `torch.save` writes, without torch: its three formats, from arrays by name."""

from __future__ import annotations

import collections
import contextlib
import io
import pickle
import struct
import sys
import tarfile
import types
import unittest.mock
import zipfile

import numpy as np

_KINDS = {np.float32: "Float", np.float64: "Double", np.float16: "Half", np.int64: "Long", np.uint8: "Byte"}
_MAGIC = 0x1950A86A20F9469CFC6C


class Tensor:
  """A view of a storage, as torch keeps one: elements, offset, size, stride in elements."""

  def __init__(self, storage: np.ndarray, offset: int, size: tuple[int, ...], stride: tuple[int, ...]):
    self.storage, self.offset, self.size, self.stride = storage, offset, size, stride

  @classmethod
  def of(cls, array: np.ndarray) -> Tensor:
    array = np.asarray(array)
    stride = tuple(step // array.itemsize for step in np.ascontiguousarray(array).reshape(array.shape).strides)
    return cls(np.ascontiguousarray(array).ravel(), 0, array.shape, stride)


def tensors(arrays: dict[str, np.ndarray]) -> dict[str, Tensor]:
  """A `state_dict`, with the attribute that torch gives it."""
  found = collections.OrderedDict((name, Tensor.of(array)) for name, array in arrays.items())
  found._metadata = collections.OrderedDict({"": {"version": 1}})  # pyright: ignore[reportAttributeAccessIssue]
  return found


@contextlib.contextmanager
def _torch_names():
  """Modules of torch with the names that files refer to, and nothing else."""
  made = {name: types.ModuleType(name) for name in ("torch", "torch._utils")}

  def rebuild(*arguments):
    raise AssertionError("never called")

  rebuild.__module__, rebuild.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
  made["torch._utils"]._rebuild_tensor_v2 = rebuild  # pyright: ignore[reportAttributeAccessIssue]
  for kind in _KINDS.values():
    setattr(made["torch"], f"{kind}Storage", type(f"{kind}Storage", (), {"__module__": "torch"}))
  with unittest.mock.patch.dict(sys.modules, made):  # also where the real one has been imported
    yield made["torch"], rebuild


class _Pickler(pickle.Pickler):
  def __init__(self, file, torch, rebuild, stream):
    super().__init__(file, protocol=2)
    self._torch, self._rebuild, self._stream = torch, rebuild, stream
    self.storages: dict[int, tuple[str, np.ndarray]] = {}

  def reducer_override(self, value):
    if isinstance(value, Tensor):
      arguments = (_Storage(value.storage), value.offset, value.size, value.stride, False, collections.OrderedDict())
      return self._rebuild, arguments
    return NotImplemented

  def persistent_id(self, value):
    if not isinstance(value, _Storage):
      return None
    key, _ = self.storages.setdefault(id(value.values), (str(len(self.storages)), value.values))
    pid = ("storage", storage_kind(self._torch, value.values), key, "cuda:0", len(value.values))
    return (*pid, None) if self._stream else pid


class _Storage:
  def __init__(self, values):
    self.values = values


def storage_kind(torch, values):
  return getattr(torch, f"{_KINDS[values.dtype.type]}Storage")


def write_zip(path, tree, root="archive") -> None:
  with _torch_names() as names, zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
    pickled = io.BytesIO()
    pickler = _Pickler(pickled, *names, stream=False)
    pickler.dump(tree)
    archive.writestr(f"{root}/data.pkl", pickled.getvalue())
    archive.writestr(f"{root}/byteorder", "little")
    for key, values in pickler.storages.values():
      archive.writestr(f"{root}/data/{key}", values.tobytes())
    archive.writestr(f"{root}/version", "3\n")


def write_stream(path, tree) -> None:
  with _torch_names() as names, open(path, "wb") as file:
    for head in (_MAGIC, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}):
      pickle.dump(head, file, protocol=2)
    pickler = _Pickler(file, *names, stream=True)
    pickler.dump(tree)
    pickle.dump([key for key, _ in pickler.storages.values()], file, protocol=2)
    for _, values in pickler.storages.values():
      file.write(struct.pack("<q", len(values)) + values.tobytes())


def write_tar(path, tree) -> None:
  """`tree` is flat: names to tensors."""
  with _torch_names() as (torch, _), tarfile.open(path, "w") as archive:
    kept = list({id(tensor.storage): tensor.storage for tensor in tree.values()}.values())
    numbers = {id(values): 1000 + index for index, values in enumerate(kept)}
    storages, views, pickled = io.BytesIO(), io.BytesIO(), io.BytesIO()
    pickle.dump(len(kept), storages, protocol=2)
    for values in kept:
      pickle.dump((numbers[id(values)], "cpu", storage_kind(torch, values)), storages, protocol=2)
      storages.write(struct.pack("<q", len(values)) + values.tobytes())
    pickle.dump([], storages, protocol=2)
    pickle.dump(len(tree), views, protocol=2)
    for index, tensor in enumerate(tree.values()):
      pickle.dump((index, numbers[id(tensor.storage)], storage_kind(torch, tensor.storage)), views, protocol=2)
      rank = len(tensor.size)
      views.write(struct.pack(f"<ii{2 * rank + 1}q", rank, 0, *tensor.size, *tensor.stride, tensor.offset))

    class Numbered(pickle.Pickler):
      def persistent_id(self, value):
        return str(list(tree.values()).index(value)) if isinstance(value, Tensor) else None

    Numbered(pickled, protocol=2).dump(tree)
    for name, content in (("sys_info", b""), ("storages", storages), ("tensors", views), ("pickle", pickled)):
      content = content if isinstance(content, bytes) else content.getvalue()
      info = tarfile.TarInfo(name)
      info.size = len(content)
      archive.addfile(info, io.BytesIO(content))
