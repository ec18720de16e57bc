"""The flags of a program that reads a config: CONFIG[:VARIANT], and `--config.FIELD=VALUE` for any of its fields."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

from absl import flags
from ml_collections import config_flags

from jaxhands.configuration import locate
from jaxhands.data import folders
from jaxhands.terminal import console

_HELP = ("-h", "-help", "--help", "--helpfull", "--helpshort")


def read(
  program: str, usage: str, doc: str | None, arguments: Sequence[str], define: Callable[[flags.FlagValues], None]
) -> dict[str, Any]:
  """The values of a program's flags, `config` among them; the program ends here at `--help`, and with status 1 where
  they are wrong, which is said in one line.

  Args:
    program: begins that line.
    usage: what is written behind the program, as "CONFIG[:VARIANT]".
    doc: the help, before the flags.
    arguments: without the program. The first one may be the config, which otherwise is `--config`.
    define: adds the program's own flags.
  """
  console.accept_all_characters()
  values = flags.FlagValues()
  try:
    given = _with_file(folders.named_in_flags(list(arguments)), usage)
    # Each program line has flags of its own: those of a config are as many as it changes.
    config_flags.DEFINE_config_file("config", None, usage, flag_values=values, sys_argv=given)
    define(values)
    if set(given) & set(_HELP):
      print(_help(program, usage, doc or "", values))
      sys.exit(0)
    _, *unknown = values([program, *given])
    if unknown:
      raise ValueError(f"unknown arguments {unknown}; all but the config are flags, as --workdir=DIR")
    if values["config"].value is None:
      raise ValueError(f"there is no config; write {usage}")
    return {name: values[name].value for name in values}
  except flags.Error as error:
    # An error within a config's file comes with its traceback, which is for those who write such a file.
    flag, _, trace = str(error).partition("Error whilst parsing config file:")
    last = trace.strip().rpartition("\n")[2].strip()
    known = not trace or last.startswith("ValueError: ")
    sys.exit(f"{program}: error: {_one_line(flag + last.removeprefix('ValueError: ')) if known else error}")
  except (AttributeError, FileNotFoundError, KeyError, TypeError, ValueError) as error:
    reason = error
    while isinstance(reason, Exception):
      reason = reason.args[0]
    sys.exit(f"{program}: error: {_one_line(_with_field(str(reason), error, arguments))}")


def _with_field(reason: str, error: Exception, arguments: Sequence[str]) -> str:
  """What is wrong, with the flag that names a field that the config has not: the library says its last word alone."""
  if not isinstance(error, (AttributeError, KeyError)):
    return reason
  word = reason.strip("\"'")
  flag = next((one for one in arguments if word in re.split(r"[.=]", one.partition("config.")[2])), "")
  return f"{flag}: the config has no field {word!r}" if flag and word.isidentifier() else reason


def _with_file(arguments: list[str], usage: str) -> list[str]:
  """The arguments with the config's file, which is there, as `--config=FILE[:VARIANT]`."""
  if arguments and not arguments[0].startswith("-"):
    arguments = ["", *arguments]  # as behind `--config`
  kept: list[str] = []
  for argument in arguments:
    typed = argument
    if kept and kept[-1] in ("", "-config", "--config"):
      argument, typed = f"--config={argument}", f"{kept.pop()} {argument}".strip()
    flag = re.fullmatch(r"--?config=([^:]*)(:?.*)", argument, re.DOTALL)
    if flag is None:
      kept.append(argument)
      continue
    if any(one.startswith("--config=") for one in kept):
      raise ValueError(f"{typed}: there is a config already")
    try:
      kept.append(f"--config={locate.find(flag[1])}{flag[2]}")
    except FileNotFoundError as error:
      raise FileNotFoundError(f"{typed.removesuffix(flag[2])}: {error}; write {usage}") from error
  return kept


def _help(program: str, usage: str, doc: str, values: flags.FlagValues) -> str:
  first, _, rest = doc.partition("\n\n")
  lines = [f"usage: {program} {usage} [--FLAG=VALUE ...]", "", " ".join(first.split()), "", rest.rstrip(), "", "flags:"]
  own = [flag for found in values.flags_by_module_dict().values() for flag in found if flag.name != "config"]
  for flag in own:
    default = f" (default: {flag.default})" if flag.default else ""
    lines.append(f"  --{flag.name:<19} {flag.help}{default}")
  return "\n".join([*lines, f"  --{'config.FIELD=VALUE':<19} any field of the config, as configs/base.py lists them"])


def _one_line(text: str) -> str:
  return " ".join(text.split())
