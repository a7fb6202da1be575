"""Mirrors the standard library's `concurrent` package."""
