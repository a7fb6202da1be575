"""`multiprocessing.dummy.connection`, unchanged: connections between threads."""

from multiprocessing.dummy import connection as _standard
from multiprocessing.dummy.connection import *  # noqa: F403

__all__ = list(_standard.__all__)
