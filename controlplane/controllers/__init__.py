"""One file for each controller; each is one pure function from caches to a plan."""
