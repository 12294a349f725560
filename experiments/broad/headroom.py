"""What there is to react to: how much constant actions that suit each training would give over the base.

    python -m experiments.broad.headroom --kinds classifiers functions --data_dir FOLDER

Over the base of the preset `muon`, every training of a kind is run at each of 15 pairs of a factor on the base's size
and one on its forgetting, held from its start to its end by all layers. What the return rises above that of the base,
if the pair is

- `one pair`: the same for all trainings of the kind,
- `by passes`: chosen by how often examples are seen, which a law of the base could know,
- `by features`: chosen by all that agents see after a tenth of the training,
- `hindsight`: the best of each training; flattered by the noise of its own reward examples.

The middle two choose by a forest of regression trees that never saw the training, all but the last by other trainings
than those they are judged by. Layers that differ, and actions that change later, can give more; a forest from so few
trainings finds less than there is.
"""

import argparse
import dataclasses
import itertools
from collections.abc import Sequence

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float

from experiments.broad.build import make_actions, make_env
from experiments.configs.broad import BroadExperiment, SuiteConfig
from experiments.configs.broad_presets import muon
from experiments.problems.horizons import HORIZONS
from experiments.problems.problem import Problem
from ganno_jax.env import FEATURES, make_mesh
from ganno_jax.env.whole_update import WholeUpdate
from ganno_jax.learners.head_start import Sweep, sweep

SIZES, FORGETTINGS = (0.42, 1.0, 2.4), (0.2, 0.5, 1.0, 2.0, 4.0)
NUM_FOLDS, SEED = 8, 5
WAYS = ("one pair", "by passes", "by features", "hindsight")


def pairs(space: WholeUpdate) -> Float[np.ndarray, "pair 2"]:
    """Actions that stand for the factors; the base itself is among them."""

    def action(factor: float, alpha: float) -> float:
        return float(np.arctanh(np.log(factor) / alpha))

    found = [
        (action(size, space.size.alpha), action(forgetting, space.forgetting.alpha))
        for size, forgetting in itertools.product(SIZES, FORGETTINGS)
    ]
    return np.asarray(found, np.float32)


def gains(found: Sweep, base: int) -> dict[str, Float[np.ndarray, " training"]]:
    """What each training gains over the base by the pair that each of `WAYS` chooses for it.

    Args:
      found: trainings at all pairs.
      base: place of the base among the pairs.
    """
    from sklearn.ensemble import ExtraTreesRegressor

    returns = found.returns
    number = len(returns)
    seen = found.features[:, base, found.features.shape[2] // 10]
    passes = seen[:, 0, FEATURES.index("epochs")][:, None]
    inputs = {"by passes": passes, "by features": seen.reshape(number, -1)}
    # Not the return itself, in which a pair that ruins a training would outweigh all else.
    wanted = np.maximum(returns - returns.max(1, keepdims=True), -2.0)
    chosen = {way: np.zeros(number, int) for way in WAYS}
    chosen["hindsight"] = returns.argmax(1)
    folds = np.random.default_rng(SEED).permutation(number) % NUM_FOLDS
    for fold in range(NUM_FOLDS):
        here, others = folds == fold, folds != fold
        chosen["one pair"][here] = wanted[others].mean(0).argmax()
        for way, x in inputs.items():
            forest = ExtraTreesRegressor(
                400, min_samples_leaf=4, max_features=0.5, random_state=SEED
            )
            forest.fit(x[others], wanted[others])
            chosen[way][here] = forest.predict(x[here]).argmax(1)
    rows = np.arange(number)
    return {way: returns[rows, chosen[way]] - returns[:, base] for way in WAYS}


def measure(problem: Problem, config: BroadExperiment, count: int, mesh: Mesh) -> list[str]:
    """A row of the table: the gain of each way, with its standard error.

    Args:
      problem: a kind of training.
      config: whose base and action space, and where the data are.
      count: trainings at every pair.
      mesh: devices.

    Raises:
      FileNotFoundError: the data set is not there; the message says how to get it.
    """
    space = make_actions(config.broad)
    tried = pairs(space)
    base = int(np.abs(tried).sum(1).argmin())
    keys = jax.random.split(jax.random.key(SEED), count)
    found = gains(sweep(make_env(problem, config), space, tried, keys, mesh), base)
    return [f"{x.mean():+.3f} ± {x.std() / np.sqrt(count):.3f}" for x in found.values()]


def main(words: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kinds", nargs="+", default=(), help="only names that contain a word")
    parser.add_argument("--trainings", type=int, default=96, help="of each kind, at least 16")
    parser.add_argument("--data_dir", help="folder with the data sets")
    given = parser.parse_args(words)
    problems = [p for p in HORIZONS if p.is_named(given.kinds)]
    if not problems or given.trainings < 2 * NUM_FOLDS:
        parser.error("no kind has such a name, or there are fewer than 16 trainings")
    config = dataclasses.replace(muon(), suite=SuiteConfig(data_dir=given.data_dir))
    mesh = make_mesh(jax.local_devices())
    print(f"| kind | {' | '.join(WAYS)} |\n| --- |{' --- |' * len(WAYS)}")
    for problem in problems:
        try:
            cells = measure(problem, config, given.trainings, mesh)
        except FileNotFoundError as error:
            parser.error(str(error))
        finally:
            jax.clear_caches()
        print(f"| {problem.name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
