"""The one fault of a store that no waiting can mend."""


class StoreRefused(Exception):
    """A store's server answers and does not let us in, or can't do what it must: a wrong password, a
    certificate that is not trusted, a topic with another number of partitions.

    The message is for the operator: one line that names the role, the address without its credentials, and
    the setting to look at.
    """
