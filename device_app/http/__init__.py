"""HTTP under this program's limits, and the headers that it reads. What is asked of whom is decided elsewhere."""
