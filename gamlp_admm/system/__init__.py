"""The machine: files, processes and memory. Nothing here knows networks, and nothing imports torch."""
