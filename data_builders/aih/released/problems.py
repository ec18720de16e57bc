"""What can be wrong with a download of AIH."""

from __future__ import annotations

from data_builders.problems import LEFT_OUT, NOTED, UNUSABLE

# Kind -> what becomes of it.
KINDS = {
  "broken list": UNUSABLE,
  "missing list": UNUSABLE,
  "malformed entry": LEFT_OUT,
  "missing picture": LEFT_OUT,
  "cut picture": LEFT_OUT,
  "missing label": LEFT_OUT,
  "cut label": LEFT_OUT,
  "picture of another size": LEFT_OUT,
  "label of another size": LEFT_OUT,
  "empty label": LEFT_OUT,
  "label without picture": NOTED,
}
