"""One module for each library: its sessions through its public API, behind the interface in `base`."""
