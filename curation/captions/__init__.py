"""Captions rendered from annotations. One module holds each family; one table in it holds the wordings."""
