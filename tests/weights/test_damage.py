"""Whatever happens to a file's bytes, its reader gives what was there, or one error that names the file."""

import io
import json
import pathlib
import pickle
import struct
import tempfile

import hypothesis
import numpy as np
import pytest
from hypothesis import given

from jaxhands.hands import array_pickle
from jaxhands.weights import files
from tests import damage
from tests.weights import torch_writer

ARRAYS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array([1, 2], np.int64), "c": np.float32([])}


def _torch(write):
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / "x"
    write(path, {name: torch_writer.Tensor.of(array) for name, array in ARRAYS.items()})
    return path.read_bytes()


def _npz(save):
  stream = io.BytesIO()
  save(stream, **ARRAYS)
  return stream.getvalue()


def _safetensors():
  entries, raw = {}, b""
  for name, array in ARRAYS.items():
    kind = {"float32": "F32", "int64": "I64"}[array.dtype.name]
    entries[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [len(raw), len(raw) + array.nbytes]}
    raw += array.tobytes()
  text = json.dumps(entries).encode()
  return struct.pack("<Q", len(text)) + text + raw


FORMATS = {
  "zip": _torch(torch_writer.write_zip),
  "stream": _torch(torch_writer.write_stream),
  "tar": _torch(torch_writer.write_tar),
  "npz": _npz(np.savez),
  "packed npz": _npz(np.savez_compressed),
  "safetensors": _safetensors(),
}
CHECKED = {"zip", "npz", "packed npz"}  # zips have checksums of their members; the others have none


@pytest.mark.parametrize("name", FORMATS)
@hypothesis.settings(max_examples=200)
@given(edits=damage.EDITS)
def test_damaged_weights_are_read_as_before_or_refused_by_name(name, edits):
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / "weights.bin"
    path.write_bytes(damage.apply(FORMATS[name], edits))
    try:
      found = dict(files.arrays(files.read(path).tree))
    except files.RefusedFile as error:
      assert str(path) in str(error)  # noqa: PT017
      assert "\n" not in str(error)  # noqa: PT017
      return
    assert sum(array.nbytes for array in found.values()) <= 1 << 29
    if name in CHECKED:
      assert set(found) <= set(ARRAYS)
      for key, array in found.items():
        np.testing.assert_array_equal(array, ARRAYS[key])


@pytest.mark.parametrize("protocol", range(6))
@hypothesis.settings(max_examples=100)
@given(edits=damage.EDITS)
def test_damaged_pickles_are_read_or_refused(protocol, edits):
  content = damage.apply(
    pickle.dumps(ARRAYS | {"text": "bs_type", "set": {1}, "nested": [{"x": (1.5,)}]}, protocol), edits
  )
  try:
    found = array_pickle.load_arrays(content)
  except array_pickle.RefusedPickle:
    return
  assert all(array is None or isinstance(array, np.ndarray) for array in found.values())
