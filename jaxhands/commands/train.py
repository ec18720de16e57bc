"""Trains and evaluates one config, or goes on with what an interrupted run has done.

    python -m jaxhands train internet                          the demo: data, network and time for a laptop
    python -m jaxhands train internet:synth --workdir=DIR      the paper's network, for an accelerator
    python -m jaxhands train internet:small --config.optimizer.learning_rate=3e-4 --mode=train
    python -m jaxhands train hdr --stage=hasm                  one stage of a config that has several

A config is named by its module in `configs`, or by the path of its file. `python launch.py --config=configs/NAME.py` of
a checkout does the same.

The exit status is 0 when all is done, 75 when a signal stopped the run (what is done is saved), 130 after a second
Ctrl-C, 1 after an error.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags, logging

from jaxhands.configuration import command_line, locate
from jaxhands.paths import expanded

# Heavy imports are in `launch`: a wrong flag is refused at once, and data workers, which import the main program, stay
# light.


def main(program: str, arguments: Sequence[str]) -> int:
  """The command; see the module for its status."""
  return launch(program, "CONFIG[:VARIANT]", __doc__, arguments)


def launch(program: str, usage: str, doc: str | None, arguments: Sequence[str]) -> int:
  """Does what the arguments of a program say, and gives its status; see `command_line.read` for what it takes."""
  values = command_line.read(program, usage, doc, arguments, define_flags)
  logging.set_verbosity(logging.WARNING)  # the checkpoint library tells every file that it writes
  from jaxhands.train import ending

  shards = locate.module_beside("data_builders.shards")
  return ending.status_of(lambda: _work(values, arguments), program, (shards.BuildError,))


def define_flags(values: flags.FlagValues) -> None:
  """Adds the flags besides the config."""
  own: dict[str, Any] = {"flag_values": values}
  where = "folder of the run (default: runs/NAME-VARIANT); goes on if it exists"
  flags.DEFINE_string("workdir", None, where, **own)
  flags.register_validator(
    "workdir", lambda folder: folder is None or folder.strip() != "", "name a folder", flag_values=values
  )
  flags.DEFINE_enum("mode", "train_and_eval", ["train", "eval", "train_and_eval"], "what to do", **own)
  stage = "this stage of the config alone; those that it starts from must be finished"
  flags.DEFINE_string("stage", "", stage, **own)
  how = "auto (Slurm, Open MPI, TPU pods), off, local, or HOST:PORT,NUMBER_OF_PROCESSES,INDEX"
  traced = "trace so many steps of training into WORKDIR/profile, with the longest operations as text; 0 = none"
  flags.DEFINE_integer("profile", 0, traced, lower_bound=0, **own)
  flags.DEFINE_string("distributed", "auto", how, **own)


def _work(values: Mapping[str, Any], arguments: Sequence[str]) -> bool:
  from jaxhands import run
  from jaxhands.configuration import rules
  from jaxhands.train import distributed

  config = values["config"]
  mode = values["mode"]
  workdir = expanded(values["workdir"] or f"runs/{config.name}-{config.variant}")
  distributed.initialize(values["distributed"])
  distributed.use_compilation_cache()
  find = locate.module_beside("data_builders.find").find
  stage, steps = values["stage"], values["profile"]
  try:
    return run.run(config, workdir, mode, find_data=find, report=_report, only=stage, profile_steps=steps)
  except rules.UnbuildableError as error:
    given = [argument for argument in arguments if argument.startswith("--config")]
    raise ValueError(f"{error} (with {' '.join(given)})") from error


def _report(workdir: pathlib.Path) -> None:
  """The last lines: the main numbers, and where all of them are."""
  from jaxhands import report
  from jaxhands.evaluation import result
  from jaxhands.runs import folder as files

  path = report.write(workdir)
  print(result.headline(json.loads((workdir / files.METRICS).read_text())))
  print(f"report: {path}")
