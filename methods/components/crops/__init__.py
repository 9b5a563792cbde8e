"""Parts of a film cut out on the device, and the way back."""
