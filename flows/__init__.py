"""The recipes, read top to bottom, and the command line."""
