"""Writing shards with Apache Beam, on all cores of this machine or on a cluster that sees the folder.

The pipeline maps one function over the shards that are missing, so a killed build goes on as any other, and what any
runner writes has the same bytes.
"""

from __future__ import annotations

import contextlib
import functools
import os
import pathlib
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from data_builders.shards import BuildError, Plan, Shard, write_shard

_SECONDS_BETWEEN_LOOKS = 0.5


def write_shards(
  plan: Plan, missing: Sequence[Shard], jobs: int, given: Sequence[str], progress: Callable[[int], None]
) -> None:
  """Writes the shards.

  Args:
    plan: what is built.
    missing: shards to write.
    jobs: processes of the local runner, which is taken where `given` names none.
    given: options of the pipeline, `key=value`.
    progress: called now and then with the number of new records.
  Raises:
    BuildError: Beam is not installed, or a record cannot be made.
    RuntimeError: the pipeline failed for another reason.
  """
  try:
    import apache_beam  # pyright: ignore[reportMissingImports]
    from apache_beam.options.pipeline_options import PipelineOptions  # pyright: ignore[reportMissingImports]
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner  # pyright: ignore[reportMissingImports]
  except ImportError as error:
    raise BuildError(f"--beam needs Apache Beam: pip install 'jaxhands[beam]' ({error})") from error
  flags = [f"--{part}" for part in given]
  runner = None
  if not any(part.startswith("runner=") for part in given):
    # Named, as the runner that Beam chooses by itself fetches a program from the net.
    runner = FnApiRunner()
    mode = "multi_processing" if jobs > 1 else "in_memory"
    local = (f"direct_num_workers={jobs}", f"direct_running_mode={mode}", "default_sdk_harness_log_level=WARNING")
    flags = [*(f"--{part}" for part in local), *flags]

  try:
    with (
      _found_by_workers(),
      _watched(missing, progress),
      apache_beam.Pipeline(runner=runner, options=PipelineOptions(flags)) as pipeline,
    ):
      shards = pipeline | "missing shards" >> apache_beam.Create(list(missing))
      spread = shards | "spread" >> apache_beam.Reshuffle()
      _ = spread | "write" >> apache_beam.Map(functools.partial(_write, plan))
  except Exception as error:
    # Beam adds the step to an exception's text; of other processes it gives the traceback, as text.
    found = [str(error)] if isinstance(error, BuildError) else re.findall(r"BuildError: (.+)", str(error))
    if found:
      raise BuildError(found[0].split(" [while running")[0]) from error
    raise


@contextlib.contextmanager
def _watched(missing: Sequence[Shard], progress: Callable[[int], None]) -> Iterator[None]:
  """Reports the records of the shards that are there, whoever writes them, until the pipeline ends."""
  over = threading.Event()

  def watch() -> None:
    while not over.wait(_SECONDS_BETWEEN_LOOKS):
      progress(sum(shard.stop - shard.start for shard in missing if shard.path.exists()))

  thread = threading.Thread(target=watch, daemon=True)
  thread.start()
  try:
    yield
  finally:
    over.set()
    thread.join()


def _write(plan: Plan, shard: Shard) -> int:
  """Writes one shard, in whatever process; returns its number of records."""
  if not shard.path.exists():
    write_shard(plan, shard, lambda: None)
  return shard.stop - shard.start


@contextlib.contextmanager
def _found_by_workers() -> Iterator[None]:
  """Lets the local runner's processes import this package also where it is not installed."""
  before: Any = os.environ.get("PYTHONPATH")
  here = str(pathlib.Path(__file__).resolve().parents[1])
  os.environ["PYTHONPATH"] = os.pathsep.join([here, *([before] if before else [])])
  try:
    yield
  finally:
    if before is None:
      del os.environ["PYTHONPATH"]
    else:
      os.environ["PYTHONPATH"] = before
