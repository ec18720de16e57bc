"""The download's own list of checksums."""

from __future__ import annotations

import pathlib

from data_builders.interhand26m import json_stream
from data_builders.interhand26m.survey import Say
from data_builders.problems import Problems

_ALGORITHMS = {32: "md5", 40: "sha1", 64: "sha256"}  # by the digest's number of digits


def check_archives(source: pathlib.Path, problems: Problems, say: Say) -> list[str]:
  """Compares the archive's parts with every CHECKSUM file in `source` and in the folders in it.

  Parts are looked for beside their list. When none is there, they were taken to be removed after unpacking.

  Returns:
    A line for each list: what was compared.
  """
  lines = []
  for listing in sorted([*source.glob("*CHECKSUM*"), *source.glob("*/*CHECKSUM*")]):
    wanted = _read(listing, problems)
    there = {name: digest for name, digest in wanted.items() if (listing.parent / name).is_file()}
    if wanted and not there:
      lines.append(
        f"{listing.name}: none of its {len(wanted)} parts is beside it (removed after unpacking); not compared"
      )
      continue
    for name in sorted(set(wanted) - set(there)):
      problems.add("missing archive part", "", name)
    good = 0
    for number, (name, digest) in enumerate(there.items()):
      say(f"comparing {listing.name}", number, len(there))
      found = json_stream.digest(listing.parent / name, _ALGORITHMS[len(digest)])
      if found == digest:
        good += 1
      else:
        problems.add("damaged archive part", "", name, f"{_ALGORITHMS[len(digest)]} {found}, expected {digest}")
    lines.append(f"{listing.name}: {good} of {len(wanted)} parts are as they should be")
  return lines


def _read(listing: pathlib.Path, problems: Problems) -> dict[str, str]:
  """Name -> digest of lines as md5sum writes them."""
  wanted = {}
  for number, line in enumerate(listing.read_text("utf-8-sig", errors="replace").splitlines(), 1):
    digest, _, name = line.strip().partition(" ")
    name = name.strip().lstrip("*")
    if len(digest) in _ALGORITHMS and name:
      wanted[name] = digest.lower()
    elif line.strip():
      problems.add("malformed entry", "", f"{listing.name} line {number}", line.strip()[:80])
  return wanted
