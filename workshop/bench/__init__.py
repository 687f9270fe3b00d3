"""The benchmarks of the design's section on speed: each a ratio to a ceiling measured in the same run."""
