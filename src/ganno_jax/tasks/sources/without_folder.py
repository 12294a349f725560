"""Sets that need no folder, by name: they ship with scikit-learn or are generated."""

from collections.abc import Callable

from ganno_jax.tasks.sources import (
    generated,
    generated_episodes,
    generated_images,
    generated_sequences,
    many_rules,
    many_sets,
    tables,
)
from ganno_jax.tasks.sources.tables import Table

TABLES: dict[str, Callable[[], Table]] = {
    "breast_cancer": tables.breast_cancer,
    "wine": tables.wine,
    "diabetes": tables.diabetes,
    "noisy_patches": tables.noisy_patches,
    "middle_pixels": tables.middle_pixels,
    "generated_teacher": generated.teacher,
    "generated_categories": generated.categories,
    "generated_waves": generated.waves,
    "generated_grammar": generated_sequences.grammar,
    "generated_spirals": generated.spirals,
    "generated_surface": generated.surface,
    "generated_events": generated_sequences.events,
    "generated_votes": generated.votes,
    "generated_tiles": generated.tiles,
    "generated_textures": generated_images.textures,
    "generated_formulas": generated.formulas,
    "generated_orbits": generated.orbits,
    "generated_ratings": generated.ratings,
    "generated_strokes": generated_images.strokes,
    "generated_brackets": generated_sequences.brackets,
    "generated_games": generated.games,
    "generated_swings": generated.swings,
    "generated_prices": generated.prices,
    "generated_discs": generated_images.discs,
    "generated_echoes": generated_sequences.echoes,
    "generated_hands": generated.hands,
    "generated_impedance": generated.impedance,
    "generated_letters": generated_images.letters,
    "generated_sums": generated_sequences.sums,
    "generated_episodes": generated_episodes.episodes,
    "generated_classifiers": many_sets.classifiers,
    "generated_functions": many_sets.functions,
    "generated_curves": many_sets.curves,
    "generated_rules": many_rules.rules,
}
