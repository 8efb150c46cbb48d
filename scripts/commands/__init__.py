"""What the `faceid` command does as a client of a server, and for the upkeep of its stores; one module a
subject."""
