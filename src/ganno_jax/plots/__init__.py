"""Figures from tables and arrays, sized for a paper's column; every function returns a `Figure`."""

from ganno_jax import extras

try:
    from ganno_jax.plots.comparison import forest, performance_profiles, sensitivity
    from ganno_jax.plots.layers import rates
    from ganno_jax.plots.style import save
    from ganno_jax.plots.training import (
        accuracy_over_steps,
        layer_rates,
        learning_curve,
        schedules,
        spike_zoom,
    )
except ModuleNotFoundError as error:
    raise extras.missing(error) from error

__all__ = [
    "accuracy_over_steps",
    "forest",
    "layer_rates",
    "learning_curve",
    "performance_profiles",
    "rates",
    "save",
    "schedules",
    "sensitivity",
    "spike_zoom",
]
