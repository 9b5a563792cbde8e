"""How trained methods do on corrupted test films: predictions and scores."""
