"""Writes the card of an output set, and its Croissant metadata."""

from pipelines.card.run import refresh_card as refresh_card
