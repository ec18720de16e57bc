"""Compiling with less care, for programs that run a few times: a test's time is the compiler's."""

import functools

import jax

jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
