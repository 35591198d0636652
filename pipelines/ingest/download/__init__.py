"""Downloads the images of a set that has addresses in their place."""
