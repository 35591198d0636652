"""One command of the command line a file: its flags, and the call of the function behind it. No work is done here."""
