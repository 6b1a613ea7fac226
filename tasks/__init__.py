"""One stage of the night a file: retries, names, artifacts, input and output. No rule lives here."""
