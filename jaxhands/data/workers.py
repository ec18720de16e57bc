"""Processes that work for another one: they leave its signals to it, and end when it does."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)  # the last one is what many job scripts ask Slurm for


def end_with_parent() -> None:
  """Has this process, which `multiprocessing` started, end as soon as the one that started it has, however that was."""
  parent = multiprocessing.parent_process()
  assert parent is not None, "this process was not started by multiprocessing"

  def end() -> None:
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)

  threading.Thread(target=end, name="jaxhands-parent", daemon=True).start()
