"""Trains and evaluates one config.

    python launch.py --config=configs/internet.py                        the demo: data, network and time for a laptop
    python launch.py --config=configs/internet.py:synth --workdir=DIR    the paper's network, for an accelerator
    python launch.py --config=configs/internet.py:small --config.optimizer.learning_rate=3e-4 --mode=train
    python launch.py --config=configs/hdr.py --stage=hasm                one stage of a config that has several

The same command goes on with what an interrupted run has done.
"""

import pathlib
import sys
from typing import Any

from absl import app, flags, logging
from ml_collections import config_flags

from jaxhands.data import folders

# Heavy imports are in `main`: a wrong flag is refused at once, and data workers, which import this file, stay light.
_CONFIG = config_flags.DEFINE_config_file("config", None, "configs/NAME.py[:VARIANT]")
_WORKDIR = flags.DEFINE_string("workdir", None, "folder of the run (default: runs/NAME-VARIANT); goes on if it exists")
_MODE = flags.DEFINE_enum("mode", "train_and_eval", ["train", "eval", "train_and_eval"], "what to do")
_STAGE = flags.DEFINE_string("stage", "", "this stage of the config alone; those that it starts from must be finished")
_DISTRIBUTED = flags.DEFINE_string(
  "distributed", "auto", "auto (Slurm, Open MPI, TPU pods), off, local, or HOST:PORT,NUMBER_OF_PROCESSES,INDEX"
)


def main(arguments: list[str]) -> None:
  """Runs what the flags say; status 0 also when a signal stopped a run that is saved."""
  if len(arguments) > 1:
    raise app.UsageError(f"unknown arguments {arguments[1:]}")
  logging.set_verbosity(logging.WARNING)  # the checkpoint library tells every file that it writes
  config = _CONFIG.value
  workdir = pathlib.Path(_WORKDIR.value or f"runs/{config.name}-{config.variant}")

  from data_builders import find
  from jaxhands import run
  from jaxhands.train import distributed

  distributed.initialize(_DISTRIBUTED.value)
  distributed.use_compilation_cache()
  mode: Any = _MODE.value
  if not run.run(config, workdir, mode, find_data=find.find, report=_report, only=_STAGE.value):
    print("the run was stopped and is saved; the same command goes on", file=sys.stderr)


def _report(workdir: pathlib.Path) -> None:
  from jaxhands import report

  print(f"report: {report.write(workdir)}")


def _parse_flags(arguments: list[str]) -> list[str]:
  """The flags, with one line instead of a traceback for what a config does not have."""
  try:
    # The config's flag reads what overrides it from sys.argv itself.
    sys.argv[:] = folders.named_in_flags(arguments)
    return app.parse_flags_with_usage(sys.argv)
  except (AttributeError, FileNotFoundError, TypeError, ValueError) as error:
    reason = error
    while isinstance(reason, Exception):
      reason = reason.args[0]
    sys.exit(f"launch.py: {' '.join(str(reason).split())}")


if __name__ == "__main__":
  flags.mark_flag_as_required("config")
  app.run(main, flags_parser=_parse_flags)
