"""Update rules: searched, compared."""
