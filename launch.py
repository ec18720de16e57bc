"""Trains and evaluates one config.

    python launch.py --config=configs/internet.py                        the demo: data, network and time for a laptop
    python launch.py --config=configs/internet.py:synth --workdir=DIR    the paper's network, for an accelerator
    python launch.py --config=configs/internet.py:small --config.optimizer.learning_rate=3e-4 --mode=train
    python launch.py --config=configs/hdr.py --stage=hasm                one stage of a config that has several

The same command goes on with what an interrupted run has done. The exit status is 0 when all is done, 75 when a signal
stopped the run (what is done is saved), 130 after a second Ctrl-C, 1 after an error. `jaxhands train CONFIG` is the
same without a checkout.
"""

import sys

from jaxhands import huge_pages
from jaxhands.commands import train

if __name__ == "__main__":
  huge_pages.start_anew()
  sys.exit(train.launch("launch.py", "--config=configs/NAME.py[:VARIANT]", __doc__, sys.argv[1:]))
