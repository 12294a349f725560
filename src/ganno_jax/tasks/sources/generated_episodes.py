"""The chances of episodes in which a policy is tried, as tables."""

import numpy as np

from ganno_jax.tasks.sources.tables import Table


def episodes() -> Table:
    """8,000 starts of a cart with a pole, each with 200 uniform numbers that decide the actions, and a target of 0.

    Place and speed of the cart at the start are uniform within 0.5 m and 0.5 m/s of 0, angle and angular speed of the
    pole within 0.1 rad and 0.1 rad/s; see `networks.CartPole`.
    """
    rng = np.random.default_rng(31)
    num_rows, num_steps = 8_000, 200
    starts = rng.uniform(-1, 1, (num_rows, 4)) * [0.5, 0.5, 0.1, 0.1]
    chances = rng.random((num_rows, num_steps))
    inputs = np.concatenate([starts, chances], 1).astype(np.float32)
    return Table(inputs, np.zeros(num_rows, np.float32), 0, normalize=False)
