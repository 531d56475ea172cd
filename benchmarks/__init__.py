"""The benchmark: ours beside its peers and beside the raw commands, in one run. See README.md here."""
