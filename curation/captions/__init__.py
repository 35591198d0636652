"""This package renders captions from annotations. Each family has one module, with one table of its wordings."""
