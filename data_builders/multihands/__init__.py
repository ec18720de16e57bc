"""MultiHands (HandFlow, Wang et al., VMV 2022): many plausible annotations of each picture of two hands."""

from data_builders.multihands.build import build
from data_builders.multihands.config import MultiHandsConfig

__all__ = ["MultiHandsConfig", "build"]
