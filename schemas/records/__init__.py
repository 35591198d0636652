"""Records: one type a file, with its Arrow schema."""
