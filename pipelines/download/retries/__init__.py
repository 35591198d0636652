"""Asks again for the images of quarantined rows of a download."""
