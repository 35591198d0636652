"""Works again on the quarantined rows of an annotation set."""
