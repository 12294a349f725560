"""Compiled programs that are let go of: each takes hundreds of memory mappings, of which a process may have 65,530."""

from typing import Any

KEPT = 8
"""Programs of a jitted function that are kept: as many structures of networks are evaluated by turns at no cost."""


def let_go(function: Any) -> None:
    """Forget all programs of what `jax.jit` returned if it has more than `KEPT`; those used again are compiled anew."""
    if function._cache_size() > KEPT:
        function.clear_cache()
