"""The one exception that is meant for the person at the keyboard."""


class KinecastError(Exception):
    """Something a user can put right: the message says what was wrong, where, and what to do, in one line.

    The command line prints it without a traceback and exits with status 2. Anything else that escapes is a bug.
    """
