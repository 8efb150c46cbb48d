"""Nothing accepted is lost and nothing is done twice, whatever is killed and whenever.

`make chaos` runs the long form; a short one is part of `make test`.
"""
