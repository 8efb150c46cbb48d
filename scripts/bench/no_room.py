"""A fault that a person can mend; apart, since the command knows of it where nothing is measured."""


class NoRoom(Exception):
    """The benchmark would fill the disk or the memory: told before it begins."""
