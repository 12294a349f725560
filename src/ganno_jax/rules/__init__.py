"""Update rules as data: their language, its interpreter, named rules and the search for new
ones."""

from ganno_jax.rules.canonical import canonical_table, canonical_text, fingerprints
from ganno_jax.rules.compiled import compile, direction, optimizer
from ganno_jax.rules.decays import (
    cosine_decay,
    linear_cosine,
    linear_decay,
    noisy_linear_cosine,
    restart_decay,
)
from ganno_jax.rules.functions import RuleConfig
from ganno_jax.rules.interpreter import interpret
from ganno_jax.rules.language import BINARIES, MAX_STEPS, OPERANDS, UNARIES, check_table, pad_table
from ganno_jax.rules.methods import RegularizedEvolution, RuleMethod, UniformRules
from ganno_jax.rules.named import RULES, SEARCH_FINDINGS
from ganno_jax.rules.parsing import RuleError, parse, to_text
from ganno_jax.rules.population import Child, make_fitness, sweep_population, train_population
from ganno_jax.rules.search import RuleSearchState, best_so_far, leaderboard
from ganno_jax.rules.sign_rules import (
    add_sign,
    power_sign,
    scale_by_add_sign,
    scale_by_power_sign,
)
from ganno_jax.rules.written import PPO, Reinforce

__all__ = [
    "BINARIES",
    "MAX_STEPS",
    "OPERANDS",
    "PPO",
    "RULES",
    "SEARCH_FINDINGS",
    "UNARIES",
    "Child",
    "RegularizedEvolution",
    "Reinforce",
    "RuleConfig",
    "RuleError",
    "RuleMethod",
    "RuleSearchState",
    "UniformRules",
    "add_sign",
    "best_so_far",
    "canonical_table",
    "canonical_text",
    "check_table",
    "compile",
    "cosine_decay",
    "direction",
    "fingerprints",
    "interpret",
    "leaderboard",
    "linear_cosine",
    "linear_decay",
    "make_fitness",
    "noisy_linear_cosine",
    "optimizer",
    "pad_table",
    "parse",
    "power_sign",
    "restart_decay",
    "scale_by_add_sign",
    "scale_by_power_sign",
    "sweep_population",
    "to_text",
    "train_population",
]
