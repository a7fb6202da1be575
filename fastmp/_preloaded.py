"""The last module that an installed fork server preloads: the server is plain again, its children say what they are.

Called by: the standard library's server, which imports it (see `fastmp/forkserver.py`).
"""

from ._install import uninstall

uninstall()
