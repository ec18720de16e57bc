"""Damages bytes as disks, cut downloads and bad intentions do."""

import numpy as np
from hypothesis import strategies as st


def apply(content: bytes, edits: list[tuple[str, int, int]]) -> bytes:
  """The content after edits (kind, where, what), each of which wraps around the content's length."""
  for kind, where, what in edits:
    at = where % max(len(content), 1)
    if kind == "flip":
      content = content[:at] + bytes([content[at] ^ 1 << what % 8]) + content[at + 1 :] if content else content
    elif kind == "set":
      content = content[:at] + bytes([what % 256]) + content[at + 1 :]
    elif kind == "cut":
      content = content[:at]
    elif kind == "drop":
      content = content[:at] + content[at + 1 + what % 64 :]
    elif kind == "large":  # a length, where one is
      content = content[:at] + b"\xff\xff\xff\x7f" + content[at + 4 :]
    elif kind == "again":
      content = content[:at] + content[at : at + 1 + what % 64] * 2 + content[at + 1 + what % 64 :]
  return content


EDITS = st.lists(
  st.tuples(
    st.sampled_from(["flip", "set", "cut", "drop", "large", "again"]), st.integers(0, 1 << 20), st.integers(0, 1 << 16)
  ),
  min_size=1,
  max_size=3,
)


def _flipped(content: bytes) -> bytes:
  used = np.flatnonzero(np.frombuffer(content, np.uint8))  # most of a small shard is padding
  middle = used[len(used) // 2]
  return content[:middle] + bytes(255 - byte for byte in content[middle : middle + 64]) + content[middle + 64 :]


# What happens to a file: a function of its path each.
OF_FILES = {
  "missing": lambda path: path.unlink(),
  "empty": lambda path: path.write_bytes(b""),
  "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
  "flipped": lambda path: path.write_bytes(_flipped(path.read_bytes())),
}
