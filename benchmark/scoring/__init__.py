"""From stored predictions to scores with intervals."""
