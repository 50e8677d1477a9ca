"""Container runtimes: the contract that Docker's and the fake both keep, and what only a real Docker can show."""
