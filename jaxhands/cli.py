"""`jaxhands COMMAND`, or `python -m jaxhands COMMAND`: training, and all that can be done with a trained run.

A command is a module with

    add_arguments(parser: argparse.ArgumentParser) -> None
    main(args: argparse.Namespace) -> int       # exit status; 0 = done

or, where fields of a config are flags, with `main(program: str, arguments: Sequence[str]) -> int` alone. Its docstring
is the help: the first paragraph says what it does, the rest how, with an example. To add a command, name its module in
`COMMANDS`; only the module of the command that is called is imported.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import importlib
import os
import pathlib
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from jaxhands import __version__
from jaxhands.runs import lock
from jaxhands.terminal import console
from jaxhands.terminal.arguments import Parser

PROGRAM = "jaxhands" if pathlib.Path(sys.argv[0]).stem == "jaxhands" else "python -m jaxhands"


class Command(NamedTuple):
  """A command.

  Attributes:
    module: that does it.
    summary: what it does in a few words.
    fills_out: nothing else may write into its --out meanwhile.
    has_config: it reads its arguments itself, by `configuration.command_line`.
  """

  module: str
  summary: str
  fills_out: bool = False
  has_config: bool = False


COMMANDS = {
  "train": Command("jaxhands.commands.train", "train and evaluate a config, or go on with it", has_config=True),
  "show": Command("jaxhands.commands.show", "draw what a network sees in training: crops and targets", has_config=True),
  "predict": Command("jaxhands.commands.predict", "find hands in your own pictures and videos, in 3D", True),
  "fit": Command("jaxhands.commands.fit", "parameters of a hand model for joints, of any program or data set", True),
  "import": Command("jaxhands.commands.import_weights", "make a run of weights that authors released", True),
  "inspect": Command("jaxhands.commands.inspect", "list what a file of weights or a run holds"),
  "keep": Command("jaxhands.commands.keep", "the weights of a run alone, small, to predict with", True),
  "compare": Command("jaxhands.commands.compare", "difference of two runs, example by example: interval and p-value"),
  "results": Command("jaxhands.commands.results", "keep a run's result; write RESULTS.md beside the papers' numbers"),
  "joints": Command("jaxhands.commands.joints", "show how joints are numbered here and elsewhere"),
  "doctor": Command("jaxhands.commands.doctor", "what works on this machine, and what to do about the rest"),
}


def main(arguments: Sequence[str] | None = None) -> int:
  """Runs the command that the arguments name.

  What a user can mend (`ValueError`, `OSError`, a missing optional package, a number that is too large) becomes one
  line on standard error and status 1; with `JAXHANDS_TRACEBACK=1` in the environment, the whole traceback.
  """
  console.accept_all_characters()
  arguments = list(sys.argv[1:] if arguments is None else arguments)
  if not arguments or arguments[0] in ("-h", "--help", "help"):
    print(_overview())
    return 0 if arguments else 2
  name, *rest = arguments
  if name == "--version":
    print(f"jaxhands {__version__}")
    return 0
  if name not in COMMANDS:
    close = difflib.get_close_matches(name, COMMANDS, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(COMMANDS)}"
    print(f"{PROGRAM}: error: there is no command {name!r}; {hint}", file=sys.stderr)
    return 2
  try:
    module = importlib.import_module(COMMANDS[name].module)
    if COMMANDS[name].has_config:
      return module.main(f"{PROGRAM} {name}", rest)
    parsed = _parser(name, module.__doc__ or "", module.add_arguments).parse_args(rest)
    with _filled(parsed.out) if COMMANDS[name].fills_out else contextlib.nullcontext():
      return module.main(parsed)
  except (ValueError, OSError, ImportError, OverflowError) as error:
    if os.environ.get("JAXHANDS_TRACEBACK"):
      raise
    print(f"{PROGRAM} {name}: error: {console.one_line(error)}", file=sys.stderr)
    return 1
  except KeyboardInterrupt:
    print(f"{PROGRAM} {name}: interrupted", file=sys.stderr)
    return console.INTERRUPTED


@contextlib.contextmanager
def _filled(out: pathlib.Path) -> Iterator[None]:
  """Within this context the folder of `--out` is there, and nobody else writes into it."""
  with contextlib.ExitStack() as stack:
    try:
      stack.enter_context(lock.only(out))
    except lock.FolderInUseError:
      raise
    except OSError as error:
      raise ValueError(f"--out {out} cannot be made a folder: {error.strerror or error}") from error
    yield


def _overview() -> str:
  width = max(map(len, COMMANDS))
  lines = [f"  {name:<{width}}  {command.summary}" for name, command in COMMANDS.items()]
  return "\n".join([
    f"usage: {PROGRAM} COMMAND ...", "", *lines, "",
    f"`{PROGRAM} COMMAND --help` explains one, with an example.",
  ])  # fmt: skip


def _parser(name: str, doc: str, add_arguments: object) -> argparse.ArgumentParser:
  description, _, rest = doc.partition("\n\n")
  parser = Parser(
    prog=f"{PROGRAM} {name}",
    description=" ".join(description.split()),
    epilog=rest.rstrip(),
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  assert callable(add_arguments), name
  add_arguments(parser)
  return parser
