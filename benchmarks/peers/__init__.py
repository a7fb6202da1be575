"""Peers whose interface is not `multiprocessing`'s, behind the part of it that the rows use.

One module for each; `backends` looks names up in it, and behind it in the standard library (`Process`). An adapter does
nothing but rename: what it costs is a Python call at most.
"""
