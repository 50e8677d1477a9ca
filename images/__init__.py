"""Images that Covey makes itself, where no registry is in reach: for examples and tests. `static/` holds the assembler
sources of the two programs that `agents/node/runtimes/binaries.py` carries."""
