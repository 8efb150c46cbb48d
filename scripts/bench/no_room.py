"""A fault that the person at the terminal can mend; apart, since the command knows of it without measuring."""


class NoRoom(Exception):
    """The benchmark would fill the disk or the memory: told before it begins."""
