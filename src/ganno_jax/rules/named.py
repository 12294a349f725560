"""Rules with names, as text.

The formulas of PowerSign and AddSign, with and without decays, are published (Bello et al. 2017,
arXiv:1709.07417, and TensorFlow's code). The other eight of `SEARCH_FINDINGS` are quoted from
memory of that paper's tables: take them as tests of the language, not as citations.
"""

POWER_SIGN = "g * exp(sign(g) * sign(m))"
ADD_SIGN = "(1 + sign(g) * sign(m)) * g"

CLASSICS = {
    "sgd": "g",
    "momentum": "m",
    "sign_sgd": "sign(g)",
    "sign_momentum": "sign(m)",
    "rmsprop": "rmsprop",
    "adam": "adam",
}
"""Optimizers of before the search, as rules."""

SIGN_RULES = {
    "power_sign": POWER_SIGN,
    "power_sign_ld": "g * exp(ld * sign(g) * sign(m))",
    "power_sign_cd": "g * exp(cd * sign(g) * sign(m))",
    "power_sign_rd": "g * exp(rd * sign(g) * sign(m))",
    "add_sign": ADD_SIGN,
    "add_sign_ld": "(1 + ld * sign(g) * sign(m)) * g",
    "add_sign_cd": "(1 + cd * sign(g) * sign(m)) * g",
    "add_sign_rd": "(1 + rd * sign(g) * sign(m)) * g",
}
"""PowerSign and AddSign with their internal decays."""

SEARCH_FINDINGS = (
    POWER_SIGN,
    "(exp(sign(g) * sign(m)) + clip(g, 1e-4)) * g",
    "clip(m, 1e-4) * exp(v)",
    "m * exp(v)",
    "g + drop(m, 0.3)",
    "g - clip(g^2, 1e-4)",
    "exp(g) - exp(m)",
    "drop(m, 0.3) * exp(1e-3 w)",
    "adam * exp(m)",
)
"""Nine rules that the search found."""

RULES = CLASSICS | SIGN_RULES
"""All rules that can be asked for by name."""
