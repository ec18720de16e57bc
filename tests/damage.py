"""Damages bytes as disks, cut downloads and bad intentions do."""

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
