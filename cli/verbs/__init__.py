"""The verbs of `covey`: one file each, in kubectl's words."""
