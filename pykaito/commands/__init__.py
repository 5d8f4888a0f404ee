"""What the command line does. ``app`` names the commands and their options.

What is shown is computed by pure functions from plain dictionaries; thin shells
around them read files and the API server.
"""
