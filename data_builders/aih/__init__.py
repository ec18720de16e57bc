"""AIH, the Amodal InterHand data set of HDR (Meng et al., ECCV 2022): two hands with all that they hide."""

from data_builders.aih.build import build
from data_builders.aih.config import RELEASED, AihConfig

__all__ = ["RELEASED", "AihConfig", "build"]
