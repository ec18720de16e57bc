"""Command lines: what is wrong with one is said in one line."""

from __future__ import annotations

import argparse
import pathlib
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from jaxhands.paths import expanded

_NEGATIVE = re.compile(r"-(\d|\.\d|inf|nan)", re.IGNORECASE)


class Parser(argparse.ArgumentParser):
  """Says what is wrong without the usage before it, and takes values that begin with a minus, as `--principal -3,4`.

  Of `type=pathlib.Path` it makes what `expanded` does: no shell puts a home in place of the tilde of `--out=~/a`.
  """

  def __init__(self, *arguments: Any, **options: Any):
    super().__init__(*arguments, **options)
    self.register("type", pathlib.Path, path)

  def error(self, message: str) -> NoReturn:
    self.exit(2, f"{self.prog}: error: {' '.join(message.split())} (--help lists all flags)\n")

  def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
    return super().parse_known_args(_joined(sys.argv[1:] if args is None else args), namespace)


def path(text: str) -> pathlib.Path:
  """What `expanded` makes of an argument."""
  try:
    return expanded(text)
  except FileNotFoundError as error:
    raise argparse.ArgumentTypeError(str(error)) from error


def _joined(arguments: Sequence[str]) -> list[str]:
  """`--flag -3,4` as `--flag=-3,4`: argparse takes such a value for another flag."""
  made: list[str] = []
  for at, argument in enumerate(arguments):
    if argument == "--":
      return [*made, *arguments[at:]]
    if made and made[-1].startswith("--") and "=" not in made[-1] and _NEGATIVE.match(argument):
      made[-1] += f"={argument}"
    else:
      made.append(argument)
  return made
