"""3D pose, shape and uncertainty of two interacting hands from one colour picture, in JAX."""

__version__ = "0.1.0"
