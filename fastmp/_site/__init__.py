"""The folder of `sitecustomize.py`, for `fastmp run` where no .pth file is installed."""
