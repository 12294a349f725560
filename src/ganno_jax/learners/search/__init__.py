"""Black-box search for the parameters of a policy: what is searched on, REPS, and its controls."""

from ganno_jax.learners.search.black_box import CMAES, RandomSearch
from ganno_jax.learners.search.parameter_search import ParameterSearch, SearchState, search
from ganno_jax.learners.search.reps import REPS

__all__ = ["CMAES", "REPS", "ParameterSearch", "RandomSearch", "SearchState", "search"]
