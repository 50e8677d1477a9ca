"""The pure parts of the container runtimes: references, frames, translations, machine code."""
