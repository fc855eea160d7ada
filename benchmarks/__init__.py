"""`python -m benchmarks`: times, as ratios to other libraries and to lower bounds measured in the same run."""
