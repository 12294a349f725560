"""A training problem of four steps that the tests share."""

from experiments.problems import Problem

TINY = Problem(
    "digits, tiny",
    {"name": "digits", "max_examples": 200},
    {"name": "softmax"},
    batch_size=8,
    num_decisions=2,
    interval=2,
    num_validation=16,
    initial_rate=(1e-3, 0.1),
)
