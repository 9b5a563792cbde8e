"""From the loader's uint8 films to what a network or a regressor takes."""
