"""What `covey describe` says about each kind: pure functions from objects to lines, laid out as kubectl does."""
