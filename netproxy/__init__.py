"""Services to kernel rules: one model, a back end for each kernel interface. Imports mesh only."""
