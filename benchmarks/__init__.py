"""Measurements with a target each: `python -m benchmarks.NAME`, see `benchmarks/README.md`."""
