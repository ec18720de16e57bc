"""Trains and evaluates one config.

    python launch.py --config=configs/internet.py                        the demo: data, network and time for a laptop
    python launch.py --config=configs/internet.py:synth --workdir=DIR    the paper's network, for an accelerator
    python launch.py --config=configs/internet.py:small --config.optimizer.learning_rate=3e-4 --mode=train
    python launch.py --config=configs/hdr.py --stage=hasm                one stage of a config that has several

The same command goes on with what an interrupted run has done. The exit status is 0 when all is done, 75 when a signal
stopped the run (what is done is saved), 130 after a second Ctrl-C, 1 after an error.
"""

import json
import pathlib
import sys
from typing import Any

from absl import app, flags, logging
from ml_collections import config_flags

from jaxhands import console
from jaxhands.data import folders

# Heavy imports are in `main`: a wrong flag is refused at once, and data workers, which import this file, stay light.
_WRITE = "write --config=configs/NAME.py[:VARIANT]"
_CONFIG = config_flags.DEFINE_config_file("config", None, "configs/NAME.py[:VARIANT]")
_WORKDIR = flags.DEFINE_string("workdir", None, "folder of the run (default: runs/NAME-VARIANT); goes on if it exists")
flags.register_validator("workdir", lambda folder: folder is None or folder.strip() != "", "name a folder")
_MODE = flags.DEFINE_enum("mode", "train_and_eval", ["train", "eval", "train_and_eval"], "what to do")
_STAGE = flags.DEFINE_string("stage", "", "this stage of the config alone; those that it starts from must be finished")
_DISTRIBUTED = flags.DEFINE_string(
  "distributed", "auto", "auto (Slurm, Open MPI, TPU pods), off, local, or HOST:PORT,NUMBER_OF_PROCESSES,INDEX"
)


def main(arguments: list[str]) -> None:
  """Runs what the flags say; see the module for its status."""
  logging.set_verbosity(logging.WARNING)  # the checkpoint library tells every file that it writes
  from data_builders.shards import BuildError
  from jaxhands.train import ending

  sys.exit(ending.status_of(_work, "launch.py", (BuildError,)))


def _work() -> bool:
  from data_builders import find
  from jaxhands import config_rules, run
  from jaxhands.train import distributed

  config: Any = _CONFIG.value
  mode: Any = _MODE.value
  workdir = pathlib.Path(_WORKDIR.value or f"runs/{config.name}-{config.variant}")
  distributed.initialize(_DISTRIBUTED.value)
  distributed.use_compilation_cache()
  try:
    return run.run(config, workdir, mode, find_data=find.find, report=_report, only=_STAGE.value)
  except config_rules.UnbuildableError as error:
    given = [argument for argument in sys.argv if argument.startswith("--config")]
    raise ValueError(f"{error} (with {' '.join(given)})") from error


def _report(workdir: pathlib.Path) -> None:
  """The last lines: the main numbers, and where all of them are."""
  from jaxhands import evaluate, report

  path = report.write(workdir)
  print(evaluate.headline(json.loads((workdir / "eval" / "metrics.json").read_text())))
  print(f"report: {path}")


def _found(arguments: list[str]) -> list[str]:
  """`--config=configs/NAME.py` as a file that is there: below the working directory, or else beside this one."""
  kept: list[str] = []
  for argument in arguments:
    if kept and kept[-1] in ("-config", "--config"):
      argument = f"{kept.pop()}={argument}"
    dashes, config, value = argument.partition("config=")
    if not config or dashes not in ("-", "--"):
      kept.append(argument)
      continue
    name, colon, variant = value.partition(":")
    places = (pathlib.Path(name), pathlib.Path(__file__).resolve().parent / name)
    there = next((place for place in places if place.suffix == ".py" and place.is_file()), None)
    if there is None:
      raise FileNotFoundError(f"--config={name}: there is no such file; {_WRITE}")
    kept.append(f"--config={there}{colon}{variant}")
  return kept


def _parse_flags(arguments: list[str]) -> list[str]:
  """The flags, with one line instead of a traceback for what a config does not have."""
  console.accept_all_characters()
  try:
    # The config's flag reads what overrides it from sys.argv itself.
    sys.argv[:] = _found(folders.named_in_flags(arguments))
    program, *unknown = flags.FLAGS(sys.argv)
    if unknown:
      raise ValueError(f"unknown arguments {unknown}; all of launch.py's are flags, as --workdir=DIR")
    return [program]
  except flags.Error as error:
    # An error within a config's file comes with its traceback, which is for those who write such a file.
    flag, _, trace = str(error).partition("Error whilst parsing config file:")
    last = trace.strip().rpartition("\n")[2].strip()
    known = not trace or last.startswith("ValueError: ")
    sys.exit(f"launch.py: error: {_one_line(flag + last.removeprefix('ValueError: ')) if known else error}")
  except (AttributeError, FileNotFoundError, TypeError, ValueError) as error:
    reason = error
    while isinstance(reason, Exception):
      reason = reason.args[0]
    sys.exit(f"launch.py: error: {_one_line(str(reason))}")


def _one_line(text: str) -> str:
  return " ".join(text.split())


if __name__ == "__main__":
  flags.register_validator("config", lambda config: config is not None, _WRITE)
  app.run(main, flags_parser=_parse_flags)
