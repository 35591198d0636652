"""How good annotations are."""
