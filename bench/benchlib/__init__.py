"""Parts of bench/run. Standard library only."""
