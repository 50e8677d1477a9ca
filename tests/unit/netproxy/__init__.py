"""The proxy's pure parts."""
