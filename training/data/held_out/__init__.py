"""Plans sets of their own that are held out of training."""
