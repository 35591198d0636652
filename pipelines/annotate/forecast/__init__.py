"""Says beforehand what an annotation run will take, from a probe of a minute, and afterwards how far that was right."""
