"""`python -m benchmarks`: times as ratios to peers and to lower bounds, measured in the same run."""
