"""The same trainings by other means: a bare scan, a Python loop over Optax steps, eager PyTorch."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax

from ganno_jax.inner import InnerState, Training

RATE = 0.01


def bare_scan(training: Training, num_steps: int) -> Callable[[InnerState], Any]:
    """Momentum steps of one training and nothing else: no rates per layer, no statistics.

    Batches are the same epochs, with their indices computed before the loop, as in the env.
    """
    optimizer = optax.sgd(RATE, momentum=0.9)
    family = training.family

    def run(state: InnerState) -> Any:
        indices = jax.vmap(
            lambda step: family.batch_indices(state.task, step, training.batch_size)
        )(state.step + jnp.arange(num_steps))

        def step(carry, chosen):
            params, model_state, optimizer_state = carry
            batch = family.train_batch(state.task, chosen)
            (loss, (model_state, _)), gradient = jax.value_and_grad(state.task.loss, has_aux=True)(
                params, model_state, batch, state.key
            )
            updates, optimizer_state = optimizer.update(gradient, optimizer_state)
            params = optax.apply_updates(params, updates)
            return (params, model_state, optimizer_state), loss

        carry = (state.params, state.model_state, optimizer.init(state.params))
        return jax.lax.scan(step, carry, indices)

    return run


def optax_loop(training: Training, state: InnerState, num_steps: int) -> Callable[[], Any]:
    """What a user writes: a jitted Optax step in a Python loop, data on the device, one training.

    Args:
      training: the inner problem.
      state: to start from.
      num_steps: of a call.
    """
    optimizer = optax.sgd(RATE, momentum=0.9)
    family = training.family

    @jax.jit
    def step(params, model_state, optimizer_state, dataset, number):
        indices = (number * training.batch_size + jnp.arange(training.batch_size)) % (
            dataset.train.num_examples
        )
        batch = dataset.gather(dataset.train, indices)
        (loss, (model_state, _)), gradient = jax.value_and_grad(state.task.loss, has_aux=True)(
            params, model_state, batch, state.key
        )
        updates, optimizer_state = optimizer.update(gradient, optimizer_state)
        return optax.apply_updates(params, updates), model_state, optimizer_state, loss

    def run() -> Any:
        carry = (state.params, state.model_state, optimizer.init(state.params))
        loss = None
        for number in range(num_steps):
            *carry, loss = step(*carry, family.dataset, number)
        return loss

    return run


def torch_python(given: str | None) -> str | None:
    """The Python that has PyTorch: the given one, this one if it does, else None.

    Raises:
      ValueError: the given one cannot import it.
    """
    if given is None:
        return sys.executable if importlib.util.find_spec("torch") else None
    done = subprocess.run([given, "-c", "import torch"], capture_output=True)
    if done.returncode:
        raise ValueError(f"{given} cannot import torch.")
    return given


class TorchWorker:
    """Eager PyTorch in a process of its own, which is idle except while it is asked."""

    def __init__(self, python: str, network: str, batch: int, image: tuple[int, ...] | None):
        worker = Path(__file__).with_name("torch_worker.py")
        settings = json.dumps({"network": network, "batch": batch, "image": image or (8, 8, 1)})
        self._process = subprocess.Popen(
            [python, str(worker), settings],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.version = self._read()["version"]

    def run(self, num_steps: int) -> float:
        """Seconds of so many steps, timed by the worker itself."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{num_steps}\n")
        self._process.stdin.flush()
        return float(self._read()["seconds"])

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the PyTorch process ended; its message is above.")
        return json.loads(line)
