"""Downloads the images of a set that holds only their URLs."""
